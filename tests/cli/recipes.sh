#!/bin/sh
# recipes.sh RETORT - recipes that cannot work are refused before anything is trained or written, and
# the sentence names the file and the line.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
make_data
write_recipe "$folder/good.yaml"

# refuses LINE TEXT SED: the good recipe, edited by a sed command, is refused.
refuses() {
    sed -e "$3" "$folder/good.yaml" >"$folder/bad.yaml"
    cmp -s "$folder/good.yaml" "$folder/bad.yaml" && fail "$3 changes nothing"
    expect 1 "$2" run "$folder/bad.yaml" --out "$folder/out-$1/run"
    grep -q "bad.yaml:$1" "$folder/err" || fail "$3: line $1 wanted: $(cat "$folder/err")"
    [ ! -e "$folder/out-$1" ] || fail "$3: a folder was left"
}

# Lines: 1 name, 2 threads, 3 data, 4 teacher, 5 student, 6 distill.
refuses 2 'thread'      's/^threads:/thread:/'
refuses 2 'many'        's/^threads: 1/threads: many/'
refuses 2 '-1'          's/^threads: 1/threads: -1/'
refuses 1 'name'        's/^name: small/name: a\/b/'
refuses 3 'limits'      's/{set:/{limits: 3, set:/'
refuses 3 'spin'        's/{set:/{augment: [spin], set:/'
refuses 3 'once wanted' 's/{set:/{augment: [flip, alternating-flip], set:/'
refuses 3 'val: 40'     's/{set:/{val: 40, set:/'
refuses 3 'size'        's/{set:/{size: 48, set:/'
refuses 3 'cows'        's/fashion-mnist/cows/'
refuses 3 '/nowhere'    's|path: .*}|path: /nowhere}|'
refuses 3 'tar archive'   "s|path: .*}|path: $folder/data/train-labels-idx1-ubyte}|"
refuses 4 '6n+2'        '4s/depth=8/depth=9/'
refuses 4 'lenet'       '4s/resnet:/lenet:/'
refuses 4 'neither'     '4s/network: "[^"]*", //'
refuses 4 'weights'     '4s/network:/weights: [a], network:/'
refuses 4 'batch'       '4s/batch: 8/batch: 0/'
refuses 4 '40 images'   '4s/batch: 8/batch: 41/'
refuses 4 'epochs'      '4s/epochs: 2/epochs: 2.5/'
refuses 4 '/nowhere'    '4s|{.*}|{weights: [/nowhere/t.safetensors]}|'
refuses 5 'dept'        '5s/depth/dept/'
refuses 5 '40 images'   '5s/batch: 8/batch: 41/'
refuses 5 'schedule'    '5s/batch: 8/schedule: fast/'
refuses 5 'milestones'  '5s/batch: 8/milestones: [50, 20]/'
refuses 6 'klx'         '6s/kl:/klx:/'
refuses 6 'temperature' '6s/kl: {}/kl: {temperature: 0}/'
refuses 6 'none found'  '6s/losses: {.*}}]/losses: {}}]/'
refuses 6 'foo'         '6s/{stages/{taps: [stem, foo], stages/'
refuses 6 'stage9'      '6s/gram: {}/gram: {pairs: [stem-stage9]}/'
refuses 6 '11x11'       '4s/widths/strides=1-3-1,widths/'
refuses 6 'weights are 0' '6s/losses: {.*}}]/losses: {ce: {weight: 0}}}]/'

# What is no recipe at all.
printf 'name: [\n' >"$folder/open.yaml"
expect 1 'open.yaml:' run "$folder/open.yaml"
head -c 3000 /dev/urandom >"$folder/noise.yaml"
expect 1 'noise.yaml' run "$folder/noise.yaml"
: >"$folder/empty.yaml"
expect 1 'empty.yaml' run "$folder/empty.yaml"
expect 1 "$folder" run "$folder"

# --set goes through the same checks.
expect 1 '--set student.train.epoch=3' run "$folder/good.yaml" --set student.train.epoch=3
expect 1 'key.path=value wanted' run "$folder/good.yaml" --set seed
expect 1 'seed' run "$folder/good.yaml" --set seed=many
expect 1 'is a file' run "$folder/good.yaml" --out "$folder/good.yaml"
expect 1 'nothing found' run "$folder/good.yaml" --out ''
