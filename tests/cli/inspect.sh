#!/bin/sh
# inspect.sh RETORT - parameters, multiply-accumulates and ratios of networks that are known.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"

expect 0 '"parameters":7935652,"macs":212635648' \
    inspect vgg:depth=11,bn=false vgg:depth=6,bn=false --classes 100 --json
grep -q '"parameters":3751652,"macs":60592128' "$folder/out" || fail "vgg:depth=6: $(cat "$folder/out")"

# ratio PARAMETERS MACS ARGUMENT...: to two places, as JSON and as text.
ratio() {
    parameters=$1 macs=$2
    shift 2
    expect 0 '"ratio"' inspect "$@" --json
    sed 's/.*"ratio"://' "$folder/out" | tr -d '{}' | tr ',' '\n' | awk -F: -v p="$parameters" -v m="$macs" '
        $1 ~ /parameters/ { good += sprintf("%.2f", $2) == p }
        $1 ~ /macs/ { good += sprintf("%.2f", $2) == m }
        END { exit good != 2 }' || fail "$*: ratios $parameters and $macs wanted: $(cat "$folder/out")"
    expect 0 "ratio: parameters $parameters, MACs $macs" inspect "$@"
}
ratio 2.12 3.51 vgg:depth=11,bn=false vgg:depth=6,bn=false --classes 100
ratio 5.79 5.62 resnet:depth=32 resnet:depth=8 --classes 100
ratio 1.59 2.05 mobilenet:depth=16 mobilenet:depth=9 --classes 1000 --input 3x64x64

# One network, and three: no ratio.
expect 0 'tap stage3' inspect resnet:depth=8
expect 0 '"models"' inspect resnet:depth=8 resnet:depth=14 resnet:depth=20 --json
grep -q ratio "$folder/out" && fail "a ratio of three networks"
[ "$(grep -o '"name"' "$folder/out" | wc -l)" -eq 3 ] || fail "three models wanted"

expect 1 '6n+2' inspect resnet:depth=9
expect 1 'dept' inspect resnet:dept=8
expect 1 '' inspect resnet:depth=8 --input 3x1x1000000
