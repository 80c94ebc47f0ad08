#!/bin/sh
# screenshot.sh [RETORT [RUN]] - make doc/report.png anew from a run of recipes/demo.yaml (runs/demo, which
# `make demo` writes). Wants chromium.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
retort=${1:-$root/build/retort} run=${2:-$root/runs/demo}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$retort" report "$run" -o "$folder/report.html" >/dev/null
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$folder/profile" \
    --virtual-time-budget=10000 --window-size=1040,1370 --screenshot="$folder/report.png" \
    "file://$folder/report.html" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
[ -s "$folder/report.png" ] || { cat "$folder/log" >&2; exit 1; }
cp "$folder/report.png" "$root/doc/report.png"
echo "doc/report.png: $(wc -c <"$root/doc/report.png") bytes"
