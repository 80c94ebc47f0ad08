#!/bin/sh
# bench.sh RETORT - the numbers that bench --json promises, for every pair.
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
expect 0 'conv backward data' bench --repeat 1 --batch 4 --threads 1 --profile
