#!/bin/sh
# data.sh RETORT - retort data: list, info, check, fetch, convert; good sets and bad ones.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"

make_data
data=fashion-mnist:$folder/data

# list
expect 0 'fashion-mnist' data list
for name in mnist kmnist emnist-letters cifar10 cifar100 imagenet64 folder tiny-imagenet shard; do
    grep -q "^$name " "$folder/out" || fail "list: no $name: $(cat "$folder/out")"
done
expect 0 '{"name":"cifar10","help":' data list --json
grep -q '"default_path":"data/cifar-10-batches-bin","can_fetch":true' "$folder/out" ||
    fail "list --json: $(cat "$folder/out")"

# info
expect 0 'images    40 training, 30 test, 1x32x32' data info "$data"
grep -q '^classes   10: T-shirt/top; ' "$folder/out" || fail "info: $(cat "$folder/out")"
expect 0 '{"name":"fashion-mnist","train":40,"test":30,"shape":[1,32,32],"mean":[0.' data info "$data" --json
grep -q '"skipped":\[\],"left_out":0,' "$folder/out" || fail "info --json: $(cat "$folder/out")"

# check: every class is one shade, so 40 images are 10 different ones, which are also those tested.
expect 0 'repeated training images           30' data check "$data"
grep -q '^repeated test images               20$' "$folder/out" || fail "check: $(cat "$folder/out")"
grep -q '^test images that are also trained  30$' "$folder/out" || fail "check: $(cat "$folder/out")"
expect 0 '"duplicates":{"train":30,"test":20,"shared":30,"train_conflicts":0,' data check "$data" --json

# convert, and what was converted
expect 0 'images    40 training' data convert "$data" "$folder/shard"
expect 0 'images    40 training' data info "shard:$folder/shard"
expect 0 'images    40 training' data info "fashion-mnist:$folder/shard"
"$retort" data check "$data" >"$folder/a"
"$retort" data check "shard:$folder/shard" >"$folder/b"
cmp "$folder/a" "$folder/b" || fail "a shard is not what it was made of"
expect 1 'an empty or new folder wanted' data convert "$data" "$folder/shard"
expect 1 'is a shard already' data convert "shard:$folder/shard" "$folder/other"
[ ! -e "$folder/other" ] || fail "convert has left a folder behind"

# A damaged byte of a shard: opening it stays quick, checking it reads all.
cp -r "$folder/shard" "$folder/damaged"
printf '\377' | dd of="$folder/damaged/train.pixels" bs=1 seek=5000 conv=notrunc 2>/dev/null
expect 0 'images    40 training' data info "shard:$folder/damaged"
expect 1 "retort: $folder/damaged/train.pixels: image 4 at byte 4096: damaged" data check "shard:$folder/damaged"
expect 1 'image 4 at byte 4096: damaged' data check "fashion-mnist:$folder/damaged" --skip-bad
sed 's/"version": 2/"version": 1/' "$folder/shard/shard.json" >"$folder/damaged/shard.json"
expect 1 'shard.json: version 1 found, which has no checksums; 2 wanted: convert the data set again' \
    data info "shard:$folder/damaged"

# A bad record: an error, or listed and left out.
cp -r "$folder/data" "$folder/bad"
printf '\012' | dd of="$folder/bad/train-labels-idx1-ubyte" bs=1 seek=25 conv=notrunc 2>/dev/null
sentence="train-labels-idx1-ubyte: record 17: label 10 found, 0 to 9 wanted"
expect 1 "$sentence" data info "fashion-mnist:$folder/bad"
expect 1 "$sentence" data convert "fashion-mnist:$folder/bad" "$folder/other"
[ ! -e "$folder/other" ] || fail "convert has left a folder behind"
expect 0 "skipped: $folder/bad/$sentence" data info "fashion-mnist:$folder/bad" --skip-bad
grep -q '39 training' "$folder/out" || fail "--skip-bad: $(cat "$folder/out")"
expect 1 '1 record cannot be used' data check "fashion-mnist:$folder/bad"
grep -qF "skipped: $folder/bad/$sentence" "$folder/err" || fail "check: $(cat "$folder/err")"
expect 0 'skipped   1' data check "fashion-mnist:$folder/bad" --skip-bad
expect 0 '"skipped":["' data convert "fashion-mnist:$folder/bad" "$folder/other" --skip-bad --json

# The same in a run: an error, or told at its beginning and counted at its end.
write_recipe "$folder/r.yaml"
expect 1 "data: $folder/bad/$sentence" run "$folder/r.yaml" --out "$folder/run" --set data.path="$folder/bad"
[ ! -e "$folder/run" ] || fail "run: a folder for a set that cannot be read"
expect 0 'fashion-mnist: 1 record cannot be used and is left out:' run "$folder/r.yaml" --out "$folder/run" \
    --set data.path="$folder/bad" --set data.skip_bad=true --set student.baseline=false --no-report
grep -qF "  $folder/bad/$sentence" "$folder/err" || fail "run: what is left out: $(cat "$folder/err")"
grep -q '"skipped": 1' "$folder/run/run.json" || fail "run.json: $(cat "$folder/run/run.json")"
student=$folder/run/student.safetensors
expect 1 "$sentence" eval "$student" --data "fashion-mnist:$folder/bad"
expect 0 '1 record of' eval "$student" --data "fashion-mnist:$folder/bad" --skip-bad
expect 0 '1 record was left out when it was converted' train "$folder/r.yaml" --out "$folder/run2" \
    --set data.path="$folder/other" --no-report
grep -q '"skipped": 1' "$folder/run2/run.json" || fail "run.json: $(cat "$folder/run2/run.json")"

# Folders of images
mkdir -p "$folder/images/cat" "$folder/images/dog"
expect 1 '0 classes found' data info "folder:$folder/images"
echo text >"$folder/images/cat/1.JPG"
echo text >"$folder/images/cat/2.png"
cp "$folder/images/cat"/* "$folder/images/dog"
expect 1 "neither's first bytes found, a JPEG or PNG image wanted" data info "folder:$folder/images"
expect 1 'no class is left' data check "folder:$folder/images"
expect 1 'held_out: 0.2 found, but fashion-mnist has test images of its own' data info "$data" --held-out 0.2
expect 1 'have a size of their own' data info "$data" --size 48

# fetch: from a folder of this machine, what is there is not what was published.
mkdir "$folder/mirror"
echo 'not the set' >"$folder/mirror/cifar-100-binary.tar.gz"
expect 1 'cifar-100-binary.tar.gz: 12 bytes found, 168513733 wanted' \
    data fetch cifar100 "$folder/fetched" --from "file://$folder/mirror"
echo 'not the set' >"$folder/mirror/train-images-idx3-ubyte.gz"
expect 1 'train-images-idx3-ubyte.gz: 12 bytes found, 26421880 wanted' \
    data fetch fashion-mnist "$folder/fetched" --from "file://$folder/mirror/"
[ ! -e "$folder/fetched/train-images-idx3-ubyte.gz" ] || fail "fetch: a wrong file is there"
[ ! -e "$folder/fetched/train-images-idx3-ubyte.gz.part" ] || fail "fetch: a wrong part is there"
expect 1 'must be fetched by hand' data fetch imagenet64
expect 1 'cows: not a data set' data fetch cows

# Wrong usage
expect 2 'nothing found, one of list, info, check, fetch, convert wanted' data
expect 2 'dance found, one of list' data dance
expect 2 'info: 0 arguments found, 1 wanted' data info
expect 2 'convert: 1 arguments found, 2 wanted' data convert "$data"
expect 2 'one argument too many' data convert "$data" x y
expect 2 'belong to fetch' data info "$data" --from x
expect 2 'do not belong to fetch' data fetch cifar10 --skip-bad
expect 2 '--held-out: x found' data info "$data" --held-out x
expect 2 '--size: 0 found' data info "$data" --size 0
expect 1 '"cows" is not a data set; known: fashion-mnist' data info cows
