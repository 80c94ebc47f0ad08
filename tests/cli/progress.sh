#!/bin/sh
# progress.sh RETORT RECIPES - what a run shows on a terminal, which util-linux's script plays: two bars that
# do not wrap, colours unless NO_COLOR or a dumb terminal forbids them; no control characters without a
# terminal, and nothing at all with --quiet.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
command -v script >/dev/null || {
    echo "script (Debian: bsdutils) is not there"
    exit 77
}
make_data
write_recipe "$folder/r.yaml"
escape=$(printf '\033')
unset NO_COLOR COLUMNS

# on_terminal NAME COLUMNS OPTION...: what stderr shows there, in $folder/screen; stdout in $folder/out.
on_terminal() {
    name=$1 width=$2
    shift 2
    rm -rf "$folder/$name"
    TERM=${terminal-xterm} script -qec \
        "stty cols $width; '$retort' run '$folder/r.yaml' --out '$folder/$name' $* >'$folder/out'" \
        /dev/null >"$folder/screen" </dev/null || fail "$name: exit code $?: $(cat "$folder/screen")"
    if grep -qE 'Sanitizer|runtime error' "$folder/screen"; then fail "$name: $(cat "$folder/screen")"; fi
    grep -q 'gain: ' "$folder/out" || fail "$name: no table on stdout"
    if grep -q "$escape" "$folder/out"; then fail "$name: an escape code on stdout"; fi
}

# Every line that is drawn over, without its escape codes.
live_lines() {
    tr '\r' '\n' <"$folder/screen" | sed "s/$escape\\[[0-9]*[A-Za-z]//g" | grep -E '^[a-z0-9-]+( [0-9/]+)? *\[' || true
}

# fits COLUMNS: no live line reaches the last column.
fits() {
    live_lines >"$folder/lines"
    [ -s "$folder/lines" ] || fail "no live lines: $(cat -v "$folder/screen")"
    awk -v width="$1" 'length($0) >= width { print; bad = 1 } END { exit bad }' "$folder/lines" ||
        fail "too long for $1 columns"
}

# ---- a terminal ----

on_terminal wide 100
fits 100
grep -qE '^teacher-1 1/2 \[#+\.*\] left [0-9:]+  [0-9]+ images/s  loss [0-9.]+  train [0-9.]+ %$' "$folder/lines" ||
    fail "no bar of an epoch: $(cat "$folder/lines")"
grep -qE '^run +\[#*\.*\] left about [0-9:]+  [0-9]+ %$' "$folder/lines" || fail "no bar of the run: $(cat "$folder/lines")"
grep -q "$escape\[32m" "$folder/screen" || fail "no colour: $(cat -v "$folder/screen")"
grep -q 'student 2/2 .* images/s  left 0:00 (run about 0:00)  loss' "$folder/screen" ||
    fail "no line about the last epoch: $(cat -v "$folder/screen")"

on_terminal narrow 40
fits 40
grep -qE '^teacher-1 1/2 \[#*\.*\] left [0-9:]+' "$folder/lines" || fail "narrow: $(cat "$folder/lines")"
grep -qE '^run \[#*\.*\] left about [0-9:]+' "$folder/lines" || fail "narrow: $(cat "$folder/lines")"

on_terminal tiny 12
fits 12

# COLUMNS counts where it is less, or where the terminal does not know its width.
export COLUMNS=50
on_terminal columns 100
fits 50
on_terminal unknown 0
fits 50
unset COLUMNS

# ---- no colours, no terminal, no words ----

export NO_COLOR=1
on_terminal grey 80
fits 80
if grep -qE "$escape\[[0-9;]*m" "$folder/screen"; then fail "NO_COLOR: $(cat -v "$folder/screen")"; fi
export NO_COLOR=
on_terminal empty 80
grep -q "$escape\[32m" "$folder/screen" || fail "an empty NO_COLOR is as none: $(cat -v "$folder/screen")"
unset NO_COLOR

terminal=dumb
on_terminal dumb 80
if grep -q "$escape" "$folder/screen"; then fail "TERM=dumb: $(cat -v "$folder/screen")"; fi
grep -q '^student 2/2 ' "$folder/screen" || fail "TERM=dumb: $(cat -v "$folder/screen")"
unset terminal

on_terminal quiet 80 --quiet
[ ! -s "$folder/screen" ] || fail "--quiet: $(cat -v "$folder/screen")"

expect 0 'gain: ' run "$folder/r.yaml" --out "$folder/plain"
if LC_ALL=C grep -qE "[^[:print:]]" "$folder/err"; then fail "control characters: $(cat -v "$folder/err")"; fi
[ "$(grep -cE '^(teacher-1|baseline|student) [12]/2 ' "$folder/err")" -eq 6 ] || fail "one line per epoch wanted"
expect 0 'gain: ' run "$folder/r.yaml" --out "$folder/silent" --quiet
[ ! -s "$folder/err" ] || fail "--quiet: $(cat "$folder/err")"
expect 1 'holds a run already' run "$folder/r.yaml" --out "$folder/silent" --quiet
