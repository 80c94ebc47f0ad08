#!/usr/bin/env bash
# compare.sh - retort against PyTorch, in turn, on this machine: the ratio of medians per mode.
#
#   bench/compare.sh [PAIR] [PRECISION] [ROUNDS]    resnet | vgg | mobilenet; f32 | bf16 | both; 3
#
# RETORT is the program (build/retort), PEER a PyTorch script: called with --pair, it prints one JSON
# line per mode and configuration with the fields mode, type (float32 | bfloat16) and ms. The peer's
# figure is its best configuration of the same precision in that round. Run it on a quiet machine.
set -eu
cd "$(dirname "$0")/.."
pair=${1:-resnet} precisions=${2:-both} rounds=${3:-3}
[ "$precisions" != both ] || precisions="f32 bf16"
retort=${RETORT:-build/retort} peer=${PEER:?is not set: a PyTorch script is wanted}
[ -f "$peer" ] || { echo "compare.sh: $peer: not there" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    for precision in $precisions; do
        "$retort" bench --pair "$pair" --precision "$precision" --json >"$out/$precision.$round"
    done
    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE /usr/bin/python3 "$peer" --pair "$pair" >"$out/peer.$round"
done
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /processor: /'
/usr/bin/python3 - "$out" "$rounds" "$pair" $precisions <<'PYTHON'
import json, statistics, sys
out, rounds, pair = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for precision in sys.argv[4:]:
    kind = {"f32": "float32", "bf16": "bfloat16"}[precision]
    ours, theirs, peaks = {}, {}, []
    for r in range(1, rounds + 1):
        result = json.load(open(f"{out}/{precision}.{r}"))
        peaks.append(result["peak_gflops_per_second"])
        for m in result["results"]:
            ours.setdefault(m["mode"], []).append((m["ms"], m["gflops_per_second"]))
        best = {}
        for line in map(json.loads, open(f"{out}/peer.{r}")):
            if line.get("type") == kind and "ms" in line:
                best[line["mode"]] = min(best.get(line["mode"], 1e9), line["ms"])
        for mode, ms in best.items():
            theirs.setdefault(mode, []).append(ms)
    peak = statistics.median(peaks)
    print(f"{pair}, {precision}, {rounds} rounds, medians; {peak:.0f} GFLOP/s of f32 multiply-adds at most")
    print(f"{'mode':14} {'PyTorch ms':>11} {'retort ms':>10} {'ratio':>6} {'GFLOP/s':>8} {'of peak':>8}")
    for mode in ours:
        a = statistics.median(theirs[mode])
        b, rate = (statistics.median(x) for x in zip(*ours[mode]))
        print(f"{mode:14} {a:11.1f} {b:10.1f} {a / b:6.2f} {rate:8.0f} {100 * rate / peak:6.0f} %")
PYTHON
