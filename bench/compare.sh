#!/usr/bin/env bash
# compare.sh - retort against PyTorch, in turn, on this machine: the ratio of medians per mode.
#
#   bench/compare.sh [PAIR] [PRECISION] [ROUNDS]        resnet | vgg | mobilenet; f32 | bf16; 3
#
# RETORT is the program (build/retort), PEER the PyTorch script: called with --pair, it prints one JSON
# line per mode and configuration with the fields mode, type (float32 | bfloat16) and ms. The peer's
# figure is its best configuration of the same precision in that round. Run it on a quiet machine.
set -eu
cd "$(dirname "$0")/.."
pair=${1:-resnet} precision=${2:-f32} rounds=${3:-3}
retort=${RETORT:-build/retort} peer=${PEER:-../shared/peers/torch_step.py}
[ -f "$peer" ] || { echo "compare.sh: $peer: not there; set PEER" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    "$retort" bench --pair "$pair" --precision "$precision" --json >"$out/retort.$round"
    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE /usr/bin/python3 "$peer" --pair "$pair" >"$out/peer.$round"
done
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /processor: /'
/usr/bin/python3 - "$out" "$precision" "$rounds" "$pair" <<'PYTHON'
import json, statistics, sys
out, precision, rounds, pair = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
kind = {"f32": "float32", "bf16": "bfloat16"}[precision]
ours, theirs = {}, {}
for r in range(1, rounds + 1):
    for m in json.load(open(f"{out}/retort.{r}"))["results"]:
        ours.setdefault(m["mode"], []).append(m["ms"])
    best = {}
    for line in map(json.loads, open(f"{out}/peer.{r}")):
        if line.get("type") == kind and "ms" in line:
            best[line["mode"]] = min(best.get(line["mode"], 1e9), line["ms"])
    for mode, ms in best.items():
        theirs.setdefault(mode, []).append(ms)
print(f"{pair}, {precision}, {rounds} rounds, medians")
print(f"{'mode':14} {'PyTorch ms':>11} {'retort ms':>10} {'ratio':>6}")
for mode in ours:
    a, b = statistics.median(theirs[mode]), statistics.median(ours[mode])
    print(f"{mode:14} {a:11.1f} {b:10.1f} {a / b:6.2f}")
PYTHON
