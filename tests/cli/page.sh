#!/bin/sh
# page.sh RETORT - the page in a browser: no error, everything drawn, in a wide window and on a phone. Skipped (77)
# where there is no chromium.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
browser=$(command -v chromium || command -v chromium-browser || true)
if [ -z "$browser" ]; then
    echo 'skipped: no chromium here (Debian: apt-get install chromium)'
    exit 77
fi
make_data
write_recipe "$folder/r.yaml"

# opened PAGE WIDTH: the page as the browser made it, in $folder/dom; what its console said, in $folder/console.
opened() {
    "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$folder/profile" --enable-logging=stderr \
        --virtual-time-budget=10000 --window-size="$2",900 --dump-dom "file://$1" \
        >"$folder/dom" 2>"$folder/log" || fail "chromium: $(tail -n 3 "$folder/log")"
    grep ':CONSOLE' "$folder/log" >"$folder/console" || true
    [ ! -s "$folder/console" ] || fail "console: $(cat "$folder/console")"
    grep -q 'data-drawn="[1-9]' "$folder/dom" || fail "no chart was drawn: $(tail -c 500 "$folder/dom")"
}

# shows TEXT...: the page holds each text, outside of its scripts.
shows() {
    for text; do
        sed 's|<script.*||' "$folder/dom" | grep -qF -e "$text" || fail "\"$text\" wanted"
    done
}

expect 0 'report: ' run "$folder/r.yaml" --out "$folder/run" --quiet --set distill.stages.0.losses.kl.weight=2
opened "$folder/run/report.html" 1200
shows '<h1>small</h1>' 'Gain by distillation' '>The networks</h2>' '>Training</h2>' '>What pulls the distilled student</h2>' \
    '>Class by class</h2>' '>Gram matrices</h2>' '>Test images</h2>' '>How it was made</h2>' 'Ankle boot' \
    'stem and stage1' 'distance: distilled student' 'Gradient at the logits' 'Accuracy for each class' '>Processor</dt>'
# 3 + 3 + 3 + 1 charts; 4 networks for each of 6 pairs, a scale, and images.
[ "$(grep -o 'data-drawn="[0-9]*"' "$folder/dom")" = 'data-drawn="10"' ] || fail "$(grep -o 'data-drawn="[0-9]*"' "$folder/dom")"
[ "$(grep -o '<canvas' "$folder/dom" | wc -l)" -ge 47 ] || fail "$(grep -o '<canvas' "$folder/dom" | wc -l) canvases"
[ "$(grep -o '<canvas' "$folder/dom" | wc -l)" -eq "$(grep -o '<canvas[^>]*aria-label=' "$folder/dom" | wc -l)" ] ||
    fail "a canvas without a label"
opened "$folder/run/report.html" 360

# Several runs, one of them hardly begun.
expect 0 'gain' run "$folder/r.yaml" --out "$folder/many" --repeat 2 --quiet --no-report
mkdir "$folder/begun"
sed 's|^name: .*|name: "</script><script>document.title = 1</script>"|' "$folder/run/recipe.yaml" >"$folder/begun/recipe.yaml"
expect 0 'page.html' report "$folder/many" "$folder/begun" -o "$folder/page.html"
opened "$folder/page.html" 1200
shows '>Side by side</h2>' '&lt;/script&gt;&lt;script&gt;document.title = 1' 'This run was stopped' ' ± '
