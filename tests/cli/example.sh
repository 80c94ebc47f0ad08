#!/bin/sh
# example.sh RETORT CLASSIFY RECIPE - examples/classify on a model that a tiny run has made: three
# classes with probabilities for a good picture, a sentence and exit code 1 for bad ones.
set -eu
retort=$1 classify=$2 recipe=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "example.sh: $1"
    exit 1
}

"$retort" run "$recipe" --out "$folder/run" --quiet >"$folder/table"
# With this seed it diverged until it had a clip_norm.
"$retort" run "$recipe" --out "$folder/other" --quiet --no-report --set seed=2 >"$folder/table"
model=$folder/run/student.safetensors

# A grey square on black: Fashion-MNIST's pictures are 32x32 with their border.
{
    printf 'P5\n# a comment\n32 32\n255\n'
    head -c 256 /dev/zero
    head -c 512 /dev/zero | tr '\0' '\200'
    head -c 256 /dev/zero
} >"$folder/good.pgm"
"$classify" "$model" "$folder/good.pgm" >"$folder/out"
cat "$folder/out"
awk -v path="$folder/good.pgm:" '
    index($0, path) == 1 {
        count = split(substr($0, length(path) + 2), best, /, /)
        for (i = 1; i <= count; i++) {
            if (best[i] !~ /^[A-Z].* [0-9.]+ %$/)
                exit 1
            words = split(best[i], word, " ")
            percent[i] = word[words - 1] + 0
            sum += percent[i]
        }
        good = count == 3 && percent[1] >= percent[2] && percent[2] >= percent[3] && sum > 0 && sum <= 100.2
    }
    END { exit !(NR == 1 && good) }' "$folder/out" || fail "three classes with percents wanted"

# Twice the same picture is twice the same answer.
"$classify" "$model" "$folder/good.pgm" "$folder/good.pgm" | sort -u | cmp - "$folder/out" ||
    fail "the same line twice wanted"

# refuses TEXT ARGUMENT...: exit code 1 and TEXT on stderr.
refuses() {
    text=$1
    shift
    code=0
    "$classify" "$@" >"$folder/out" 2>"$folder/error" || code=$?
    [ "$code" -eq 1 ] || fail "$*: exit code $code, 1 wanted"
    grep -qF "$text" "$folder/error" || fail "$*: $(cat "$folder/error"), \"$text\" wanted"
}
printf 'P5\n28 28\n255\n' >"$folder/small.pgm"
printf 'P5\n32 32\n255\n12345' >"$folder/short.pgm"
printf 'P6\n32 32\n255\n' >"$folder/colour.ppm"
refuses 'no raw P5 picture of 32x32' "$model" "$folder/small.pgm"
refuses 'no raw P5 picture of 32x32' "$model" "$folder/short.pgm"
refuses 'no raw P5 picture of 32x32' "$model" "$folder/colour.ppm"
refuses 'No such file' "$model" "$folder/none.pgm"
refuses 'none.safetensors' "$folder/none.safetensors" "$folder/good.pgm"
