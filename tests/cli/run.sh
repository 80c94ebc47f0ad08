#!/bin/sh
# run.sh RETORT RECIPES - a whole run: its files, its summary, its parts one by one, and what --dry-run
# says of it and of the recipes that come with the program.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
recipes=$2
make_data
write_recipe "$folder/r.yaml"

# top1 PART: of run.json.
top1() {
    awk -v part="\"$2\":" '$1 == part { there = 1 } there && $1 == "\"top1\":" { print $2 + 0; exit }' "$1/run.json"
}

# ---- a dry run ----

expect 0 'pairs of taps: stem-stage1' run "$folder/r.yaml" --out "$folder/run" --dry-run
for text in 'teacher: resnet' 'student: resnet' 'tap stage3' 'teacher/student: 1.00x' 'steps/epoch' \
    'measured by a few steps' "folder: $folder/run"; do
    grep -qF "$text" "$folder/out" || fail "--dry-run: \"$text\" wanted: $(cat "$folder/out")"
done
expect 0 '"pairs":[["stem","stage1"]' run "$folder/r.yaml" --dry-run --json
grep -q '"parts":\[{"part":"teacher-1","epochs":2,"batch":8,"steps":5,' "$folder/out" ||
    fail "--dry-run --json: $(cat "$folder/out")"
[ ! -e "$folder/run" ] || fail "--dry-run made the folder"

# ---- the whole run ----

expect 0 'gain: ' run "$folder/r.yaml" --out "$folder/run"
grep -q '^student 2/2 ' "$folder/err" || fail "no line about the last epoch: $(cat "$folder/err")"
[ "$(grep -cE ' waited for data [0-9]+\.[0-9] %$' "$folder/err")" -eq 6 ] ||
    fail "six lines that tell how long training waited for data wanted: $(cat "$folder/err")"
for file in recipe.yaml run.json metrics.jsonl teacher-1.safetensors baseline.safetensors \
    student.safetensors; do
    [ -s "$folder/run/$file" ] || fail "no $file"
    grep -qF "$folder/run/$file" "$folder/out" || fail "$file is not listed"
done
[ -z "$(find "$folder/run" -name '*.tmp')" ] || fail "temporary files are left"
for key in name seed teachers top1 baseline student gain ratio parameters macs versions; do
    grep -q "\"$key\":" "$folder/run/run.json" || fail "run.json: no $key"
done
[ "$(wc -l <"$folder/run/metrics.jsonl")" -eq 6 ] || fail "metrics.jsonl: six lines wanted"
[ "$(grep -cE '"waited":[0-9.e-]+,"waited_percent":[0-9.e-]+' "$folder/run/metrics.jsonl")" -eq 6 ] ||
    fail "metrics.jsonl: the share of time that training waited wanted: $(cat "$folder/run/metrics.jsonl")"

grep -qE '"peak_bytes":[0-9]{7,}\}$' "$folder/run/metrics.jsonl" || fail "metrics.jsonl: no peak_bytes"
for part in teacher-1 baseline student; do
    [ "$(find "$folder/run/events/$part" -name 'events.out.tfevents.[0-9]*.?*' -size +0 | wc -l)" -eq 1 ] ||
        fail "events/$part: one event file wanted: $(ls -R "$folder/run/events")"
done

# A plan says what would stand in the way.
expect 1 "it would not begin: $folder/run: holds a run already" run "$folder/r.yaml" --out "$folder/run" --dry-run
grep -q 'training takes about' "$folder/out" || fail "no plan: $(cat "$folder/out")"
expect 0 'training takes about' run "$folder/r.yaml" --out "$folder/run" --dry-run --resume
expect 1 'it would not begin: ' run "$folder/r.yaml" --out "$folder/run" --dry-run --resume --set seed=7
expect 1 '"obstacle":"' distill "$folder/r.yaml" --out "$folder/none" --dry-run --json
expect 1 'teacher-1.safetensors is not there' distill "$folder/r.yaml" --out "$folder/none" --dry-run

# Networks that another run made do not pass for this one's.
mkdir "$folder/copied"
cp "$folder/run/student.safetensors" "$folder/copied"
expect 1 "copied/student.safetensors: made by another run: its seed is 1, 2 wanted" run "$folder/r.yaml" --out "$folder/copied" --set seed=2
rm -r "$folder/copied"

# Evaluating the file gives what the run found.
expect 0 '"images":30' eval "$folder/run/student.safetensors" --data "fashion-mnist:$folder/data" --json --threads 1
grep -qE '^\{"top1":[0-9.]+,"top5":[0-9.]+,"images":30,' "$folder/out" || fail "eval: $(cat "$folder/out")"
awk -F '[:,]' -v wanted="$(top1 "$folder/run" student)" '{ exit !($2 - wanted < 0.001 && wanted - $2 < 0.001) }' \
    "$folder/out" || fail "eval: $(cat "$folder/out"), the run found $(top1 "$folder/run" student)"
expect 0 'top-1 ' eval "$folder/run/student.safetensors" --data "fashion-mnist:$folder/data" --threads 1 --batch 7
expect 0 'file ' inspect "$folder/run/student.safetensors"

# ---- again, and in parts ----

expect 1 'holds a run already' run "$folder/r.yaml" --out "$folder/run"
expect 1 'another recipe: seed: 1 there, 9 here' run "$folder/r.yaml" --out "$folder/run" --resume --set seed=9
expect 0 '"gain"' run "$folder/r.yaml" --out "$folder/run" --resume --json --quiet
[ ! -s "$folder/err" ] || fail "--quiet: $(cat "$folder/err")"

expect 1 'teacher-1.safetensors is not there' distill "$folder/r.yaml" --out "$folder/parts"
[ ! -e "$folder/parts" ] || fail "a refused run left its folder"
expect 0 'plain student' train "$folder/r.yaml" --out "$folder/parts" --quiet --no-events
[ ! -e "$folder/parts/events" ] || fail "--no-events: there are some"
[ ! -e "$folder/parts/student.safetensors" ] || fail "train made a student"
expect 0 'gain: ' distill "$folder/r.yaml" --out "$folder/parts" --resume --quiet
for file in recipe.yaml teacher-1.safetensors baseline.safetensors student.safetensors; do
    cmp "$folder/run/$file" "$folder/parts/$file" || fail "$file: parts differ from the whole"
done
expect 0 'gain: ' distill "$folder/r.yaml" --out "$folder/parts" --resume --quiet

# A teacher that learns nothing is told beside the plain student.
grep -q '^note: teacher' "$folder/out" && fail "a note of a good teacher: $(cat "$folder/out")"
expect 0 'note: teacher-1 is worse than the plain student' train "$folder/r.yaml" --out "$folder/weak" --quiet \
    --set teacher.train.lr=1e-9

# A teacher from a file, next to nothing else.
expect 0 'distilled student' distill "$folder/r.yaml" --out "$folder/given" --quiet \
    --set teacher.network= --set "teacher.weights=$folder/run/teacher-1.safetensors"
cmp "$folder/run/student.safetensors" "$folder/given/student.safetensors" || fail "another student"
[ ! -e "$folder/given/teacher-1.safetensors" ] || fail "the teacher was copied"

# An interrupt ends a run after its step; it goes on with --resume.
"$retort" run "$folder/r.yaml" --out "$folder/long" --set student.train.epochs=100000 \
    >/dev/null 2>"$folder/err" &
process=$!
while [ ! -e "$folder/long/baseline.safetensors" ] && ! grep -q '^baseline 1/' "$folder/err"; do
    kill -0 "$process" 2>/dev/null || fail "the run ended: $(cat "$folder/err")"
    sleep 0.1
done
# Twice in a moment is once.
kill -TERM "$process"
kill -TERM "$process" 2>/dev/null || true
code=0
wait "$process" || code=$?
[ "$code" -eq 143 ] || fail "a run that got SIGTERM: exit code $code, 143 wanted"
tail -n 1 "$folder/err" | grep -q '^retort: stopped.* the same command with --resume goes on' ||
    fail "interrupt: $(tail -n 1 "$folder/err")"
[ -s "$folder/long/state/current.safetensors" ] || fail "no state"

# Ctrl-C likewise; a background process of a shell would not hear of it. timeout signals the process
# and then its group.
code=0
timeout --preserve-status -s INT 2 "$retort" run "$folder/r.yaml" --out "$folder/long" --resume \
    --set student.train.epochs=100000 >/dev/null 2>"$folder/err" || code=$?
[ "$code" -eq 130 ] || fail "a run that got SIGINT: exit code $code, 130 wanted"
tail -n 1 "$folder/err" | grep -q '^retort: stopped.* the same command with --resume goes on' ||
    fail "interrupt: $(tail -n 1 "$folder/err")"

# A state now and then, an option that wants a number.
expect 2 'minutes from above 0' run "$folder/r.yaml" --save-every never
expect 2 'minutes from above 0' run "$folder/r.yaml" --save-every 0

# ---- images held out ----

expect 0 'gain: ' run "$folder/r.yaml" --out "$folder/val" --set data.val=20
[ "$(grep -cE '  val [0-9.]+ %$' "$folder/err")" -eq 6 ] || fail "data.val: $(cat "$folder/err")"
[ "$(grep -c '"val_top1":' "$folder/val/metrics.jsonl")" -eq 6 ] || fail "data.val: metrics.jsonl"
if grep -q val_top1 "$folder/run/metrics.jsonl"; then fail "val_top1 without data.val"; fi

# ---- several seeds ----

expect 0 'distilled student' run "$folder/r.yaml" --out "$folder/many" --repeat 2 --set teacher.seed=5
for file in repeat.json seed-1/run.json seed-2/run.json seed-2/teacher-1.safetensors; do
    [ -s "$folder/many/$file" ] || fail "--repeat: no $file"
done
cmp -s "$folder/many/seed-1/teacher-1.safetensors" "$folder/many/seed-2/teacher-1.safetensors" ||
    fail "--repeat with teacher.seed: the teachers differ"
if cmp -s "$folder/many/seed-1/student.safetensors" "$folder/many/seed-2/student.safetensors"; then
    fail "--repeat: two seeds gave the same student"
fi
grep -q '"sd"' "$folder/many/repeat.json" || fail "repeat.json: $(cat "$folder/many/repeat.json")"
[ "$(grep -c '^seed [12] ' "$folder/out")" -eq 2 ] || fail "--repeat: $(cat "$folder/out")"
expect 0 '"runs"' run "$folder/r.yaml" --out "$folder/many" --repeat 2 --set teacher.seed=5 --resume --json
expect 0 '2 seeds take' run "$folder/r.yaml" --out "$folder/other" --repeat 2 --dry-run
[ ! -e "$folder/other" ] || fail "--repeat --dry-run made the folder"
expect 1 '--set seed=5: found beside several seeds' run "$folder/r.yaml" --repeat 2 --set seed=5 --dry-run
expect 2 '--repeat' run "$folder/r.yaml" --repeat 0

# Interrupted in the second one, it goes on as a whole.
rm -r "$folder/many/seed-2/run.json" "$folder/many/seed-2/student.safetensors" "$folder/many/repeat.json"
expect 0 'distilled student' run "$folder/r.yaml" --out "$folder/many" --repeat 2 --set teacher.seed=5 --resume
[ "$(grep -c ' of the test images' "$folder/err")" -eq 6 ] || fail "--repeat --resume: $(cat "$folder/err")"
[ "$(grep -cE '^(teacher-1|baseline|student) [0-9]+/' "$folder/err")" -eq 2 ] ||
    fail "--repeat --resume trained what was done: $(cat "$folder/err")"

# Output that cannot be written is a failure.
if [ -c /dev/full ]; then
    code=0
    "$retort" inspect resnet:depth=8 >/dev/full 2>"$folder/err" || code=$?
    [ "$code" -eq 1 ] || fail "/dev/full: exit code $code"
fi

# ---- the recipes that come with the program ----

# Those of large sets get made-up images, of CIFAR-100's form, and small batches: what is tested is that
# everything fits.
cd "$folder"
make_cifar100 cifar 200
# plan RECIPE ARGUMENT...: the plan into $folder/out; false where the data are not there.
plan() {
    code=0
    "$retort" run "$@" --dry-run --set threads=1 >"$folder/out" 2>"$folder/err" || code=$?
    [ "$code" -ne 0 ] || return 0
    grep -qE 'nothing at its default place|No such file' "$folder/err" ||
        fail "$1: $(cat "$folder/err")"
    echo "left out: $(cat "$folder/err")"
    return 1
}
# epochs_of PART: the sum over its stages.
epochs_of() {
    awk -v part="$1" '$1 == part || $1 == part "," { sum += $1 == part ? $2 : $4 } END { print sum + 0 }' "$folder/out"
}
for recipe in "$recipes"/*.yaml "$recipes"/*/*.yaml; do
    set --
    if grep -qE 'set: (cifar100|imagenet64)' "$recipe"; then
        set -- "$@" --set data.set=cifar100 --set data.path=cifar --set data.skip_bad=true --set teacher.train.batch=4 --set student.train.batch=4
    fi
    plan "$recipe" "$@" || continue
    for text in 'name: ' 'student: ' '  tap ' ' MACs' 'training takes about'; do
        grep -q "$text" "$folder/out" || fail "$recipe: \"$text\" wanted"
    done
    if grep -q '^      gram:' "$folder/out" && ! grep -q 'pairs of taps: ' "$folder/out"; then
        fail "$recipe: Gram matrices, and no pairs"
    fi
    case $recipe in */thesis/* | */baselines/* | */ablation/*) ;; *) continue ;; esac
    [ "$(epochs_of student)" -eq 30 ] || fail "$recipe: quick: $(cat "$folder/out")"
    # With the other budget those that have stages, or nothing like them in the tree.
    case $recipe in */thesis/* | */hint.yaml | */fsp.yaml | */all.yaml) ;; *) continue ;; esac
    plan "$recipe" "$@" --set teacher.train.budget=full --set student.train.budget=full
    [ "$(epochs_of student)" -eq 200 ] || fail "$recipe: full: $(cat "$folder/out")"
    if grep -q '^teacher-1 ' "$folder/out" && [ "$(epochs_of teacher-1)" -ne 200 ]; then
        fail "$recipe: full, the teacher: $(cat "$folder/out")"
    fi
done
[ ! -e runs ] || fail "--dry-run made a folder"
