#!/bin/sh
# list.sh RETORT - runs that are done, going on, and stopped.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
make_data
write_recipe "$folder/r.yaml"
mkdir "$folder/runs"

# listed FOLDER PATTERN: the line of this run.
listed() {
    expect 0 'folder' list "$folder/runs"
    grep -F "$folder/runs/$1" "$folder/out" | grep -qE "$2" || fail "$1: $2 wanted: $(cat "$folder/out")"
}

expect 0 'state' list "$folder/runs"
[ "$(wc -l <"$folder/out")" -eq 1 ] || fail "no runs wanted: $(cat "$folder/out")"

expect 0 'gain' run "$folder/r.yaml" --out "$folder/runs/done" --quiet
listed done '^done +[0-9.]+ +[0-9.]+ +[0-9.]+ +[+-][0-9.]+ +[0-9]+:[0-9][0-9]  '
expect 0 '"state":"done"' list "$folder/runs" --json
(cd "$folder" && "$retort" list | grep -q ' runs/done$') || fail "runs is not the folder by default"

# One that goes on, and what becomes of it.
"$retort" run "$folder/r.yaml" --out "$folder/runs/long" --set teacher.train.epochs=100000 --quiet >/dev/null 2>&1 &
process=$!
while [ ! -s "$folder/runs/long/metrics.jsonl" ]; do
    kill -0 "$process" 2>/dev/null || fail "the run ended"
    sleep 0.1
done
listed long '^running, teacher-1 [0-9]+/100000 '
expect 1 'another retort works there' run "$folder/r.yaml" --out "$folder/runs/long" --resume --quiet \
    --set teacher.train.epochs=100000
kill -KILL "$process"
wait "$process" 2>/dev/null || true
listed long '^stopped, teacher-1 [0-9]+/100000 +- +- +- +- '
listed done '^done '

cp -r "$folder/runs/done" "$folder/runs/half"
printf '{' >>"$folder/runs/half/metrics.jsonl"
listed half '^damaged +- +- +- +- '
grep -q '^damaged: .*metrics.jsonl:[0-9]*: ' "$folder/err" || fail "no sentence: $(cat "$folder/err")"
listed done '^done '
expect 0 '"fault":"' list "$folder/runs" --json

expect 1 '/nowhere' list /nowhere
expect 2 'one folder wanted' list a b
