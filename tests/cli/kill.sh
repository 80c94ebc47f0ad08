#!/bin/sh
# kill.sh RETORT [RECIPES [KILLS]] - a run killed at any moment and resumed ends with the same files, byte
# for byte, as one that nobody stopped. The moments are spread over the whole run, in which states are
# written after every step, so that many kills hit a state that is being written.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
kills=${3:-20}
make_data
write_recipe "$folder/r.yaml"
files="recipe.yaml teacher-1.safetensors baseline.safetensors student.safetensors exhibits.safetensors"

# start FOLDER ARGUMENT...: in the background; $process is it.
start() {
    out=$1
    shift
    "$retort" run "$folder/r.yaml" --out "$out" --save-every 1e-6 --quiet --no-report --set teacher.train.epochs=4 \
        --set student.train.epochs=4 --set distill.stages.0.epochs=4 "$@" >"$folder/out" 2>"$folder/err" &
    process=$!
}

now() {
    date +%s%N
}

begun=$(now)
start "$folder/whole"
wait "$process" || fail "the run that nobody stops: $(cat "$folder/err")"
length=$((($(now) - begun) / 1000)) # microseconds

# resume FOLDER: to its end, which is the whole run's.
resume() {
    # A run that was killed before it had made its folder has nothing to go on with, and begins.
    start "$1" --resume
    wait "$process" || fail "after a kill at $moment of $length microseconds: $(cat "$folder/err")"
    for file in $files; do
        cmp "$folder/whole/$file" "$1/$file" || fail "killed after $moment of $length microseconds: $file differs"
    done
    [ -z "$(find "$1" -name '*.tmp')" ] || fail "killed after $moment microseconds: temporary files are left"
}

# One moment in each of so many parts of the run, the place within the part drawn by a fixed rule. How long a
# run takes is no constant: one that ended before its moment shows that the moments come too late.
i=0 missed=0 halves=0
while [ "$i" -lt "$kills" ]; do
    moment=$((length * (100 * i + (i * 37 + 11) % 100) / (100 * kills)))
    start "$folder/killed-$i"
    sleep "$(printf '%d.%06d' $((moment / 1000000)) $((moment % 1000000)))"
    if ! kill -KILL "$process" 2>/dev/null; then
        missed=$((missed + 1)) length=$((length * 3 / 4))
        [ "$missed" -le "$kills" ] || fail "$missed runs ended before they could be killed"
        wait "$process" || fail "a run that was not killed: $(cat "$folder/err")"
        rm -rf "$folder/killed-$i"
        continue
    fi
    wait "$process" 2>/dev/null || true
    if [ -n "$(find "$folder/killed-$i" -name '*.tmp' 2>/dev/null)" ]; then halves=$((halves + 1)); fi
    resume "$folder/killed-$i"
    rm -rf "$folder/killed-$i"
    i=$((i + 1))
done
echo "$kills kills, $halves of them while a file was being written"

# One run, killed again and again.
i=0
while [ "$i" -lt "$kills" ]; do
    start "$folder/often" --resume
    moment=$((length / 8 + length * ((i * 53 + 7) % 100) / 1000))
    sleep "$(printf '%d.%06d' $((moment / 1000000)) $((moment % 1000000)))"
    kill -KILL "$process" 2>/dev/null || break
    wait "$process" 2>/dev/null || true
    i=$((i + 1))
done
resume "$folder/often"
