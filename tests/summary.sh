#!/bin/sh
# summary.sh BUILD... - what the test runs of these build folders found, as Meson logged it.
# Last line: "N passed, N failed, N skipped". Exit code 1 when something failed, a log is missing,
# or nothing ran.
set -eu

# count LOG RESULT...: tests of a testlog.json that ended so.
count() {
    log=$1
    shift
    for result; do
        grep -o "\"result\": \"$result\"" "$log" || true
    done | wc -l
}

passed=0 failed=0 skipped=0
echo
for build; do
    log=$build/meson-logs/testlog.json
    if [ ! -s "$log" ]; then
        echo "$build: no test ran"
        failed=$((failed + 1))
        continue
    fi
    passed=$((passed + $(count "$log" OK EXPECTEDFAIL)))
    failed=$((failed + $(count "$log" FAIL TIMEOUT ERROR INTERRUPT UNEXPECTEDPASS)))
    skipped=$((skipped + $(count "$log" SKIP)))
    # A program of unit tests counts as passed when some of its tests were skipped: say so.
    text=$build/meson-logs/testlog.txt
    inside=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test(s).*/\1/p' "$text" | awk '{n += $1} END {print n + 0}')
    good=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p' "$text" | awk '{n += $1} END {print n + 0}')
    echo "$build: $good single tests passed inside the programs, $inside skipped"
    sed -n 's/^\[  SKIPPED \] \([A-Za-z_][A-Za-z0-9_]*\)$/    skipped: \1/p' "$text" | sort -u
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
