#!/bin/sh
# bench.sh RETORT - the numbers that bench --json promises, for every pair and for the loader.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"

for pair in resnet vgg mobilenet; do
    expect 0 "{\"pair\":\"$pair\",\"batch\":4,\"threads\":1," \
        bench --pair "$pair" --repeat 1 --batch 4 --threads 1 --json
    for mode in train-teacher train-student eval-teacher eval-student kd; do
        grep -qE "\"mode\":\"$mode\",\"precision\":\"f32\",\"ms\":[0-9.e+]+,.*\"images_per_second\":[0-9.e+]+" \
            "$folder/out" || fail "$pair: nothing about $mode: $(cat "$folder/out")"
    done
done
expect 0 'peak memory' bench --repeat 1 --batch 4 --threads 1
grep -qE '^peak of the processor [1-9][0-9]* GFLOP/s' "$folder/out" || fail "no peak: $(cat "$folder/out")"
expect 0 '"mode":"kd"' bench --mode kd --repeat 1 --batch 4 --threads 1 --json
[ "$(grep -o '"mode"' "$folder/out" | wc -l)" -eq 1 ] || fail "--mode kd: one mode wanted: $(cat "$folder/out")"
grep -qE '"peak_gflops_per_second":[1-9].*"peak_share":0?[0-9.e-]+' "$folder/out" || fail "no share: $(cat "$folder/out")"
expect 1 'mode: cook found, one of train-teacher' bench --mode cook

# bf16 is measured where the processor has it, and refused with a reason where it has not.
if grep -qw avx512_bf16 /proc/cpuinfo; then
    expect 0 '"precision":"bf16"' bench --precision bf16 --repeat 1 --batch 4 --threads 1 --json
else
    expect 1 'this processor has no bf16 instructions' bench --precision bf16 --repeat 1 --batch 4 --threads 1
fi
expect 0 'conv backward data' bench --repeat 1 --batch 4 --threads 1 --profile

# The loader alone: one pass, and no network.
expect 0 '{"data":"fashion-mnist","images_per_second_per_core":' bench --data fashion-mnist --repeat 1 --json
grep -qE '_per_core":[1-9][0-9.e+]*,"images_per_second":[1-9][0-9.e+]*,"threads":1,"read_images_per_second_per_core":[1-9][0-9.e+]*,"all":false\}$' "$folder/out" ||
    fail "--data --json: $(cat "$folder/out")"
[ "$(wc -l <"$folder/out")" -eq 1 ] || fail "--data --json: one line wanted: $(cat "$folder/out")"
make_data
expect 0 ' images/s per core, ' bench --data "fashion-mnist:$folder/data" --repeat 2 --batch 8 --threads 2
grep -q 'batches of 8 images of 1x32x32, .* by 2 threads$' "$folder/out" || fail "--data: $(cat "$folder/out")"
expect 0 'turned, flipped, cropped, recoloured, cut out, mixed, normalised' \
    bench --data "fashion-mnist:$folder/data" --repeat 1 --batch 8 --all
expect 2 'no --data' bench --all
expect 1 '40 images, at least one full batch of 128' bench --data "fashion-mnist:$folder/data"
