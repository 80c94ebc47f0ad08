#!/bin/sh
# page.sh RETORT - the page in a browser: no error, everything drawn, readable on a desk, on a phone, in the dark and
# on paper, of all kinds of runs. Skipped (77) where there is no chromium.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
checks=$(realpath "$(dirname "$0")")/page_checks.js
browser=$(command -v chromium || command -v chromium-browser || true)
if [ -z "$browser" ]; then
    echo 'skipped: no chromium here (Debian: apt-get install chromium)'
    exit 77
fi
make_data
write_recipe "$folder/r.yaml"

# browse PAGE WIDTH FLAG...: what the browser made of the page, in $folder/dom; its console must be silent.
browse() {
    page=$1 width=$2
    shift 2
    "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$folder/profile" --enable-logging=stderr \
        --virtual-time-budget=10000 --window-size="$width",900 "$@" --dump-dom "file://$page" \
        >"$folder/dom" 2>"$folder/log" || fail "chromium: $(tail -n 3 "$folder/log")"
    if grep ':CONSOLE' "$folder/log"; then fail "$page: the console is not silent"; fi
    sed -n '/<main/,/<\/main>/p' "$folder/dom" >"$folder/main"
}

# opened PAGE CHARTS: so many charts are drawn.
opened() {
    browse "$1" 1200
    [ "$(grep -o 'data-drawn="[0-9]*"' "$folder/dom")" = "data-drawn=\"$2\"" ] ||
        fail "$1: $2 charts wanted, $(grep -o 'data-drawn="[0-9]*"' "$folder/dom")"
}

# shows TEXT..., hides TEXT...: the page holds each text, or none of them, outside of its scripts.
shows() {
    for text; do
        grep -qF -e "$text" "$folder/main" || fail "$page: \"$text\" wanted"
    done
}
hides() {
    for text; do
        if grep -qF -e "$text" "$folder/main"; then fail "$page: \"$text\" found"; fi
    done
}

# checked PAGE WIDTH SCHEME: page_checks.js finds nothing wrong in a window of this width. A browser's own windows are not as
# narrow as a phone; a frame is.
checked() {
    { echo '<script>'; cat "$checks"; echo '</script>'; } >"$folder/checks"
    sed "/<\/body>/{
r $folder/checks
}" "$1" >"$folder/inner.html"
    echo "<!doctype html><title>nothing</title><script>onmessage = event => { document.title = event.data; }</script>
        <iframe width=$2 height=900 src=inner.html></iframe>" >"$folder/outer.html"
    dark=0
    [ "$3" = dark ] || dark=1
    browse "$folder/outer.html" 1400 --blink-settings=preferredColorScheme=$dark
    grep -oE "<title>$3; [0-9]+ charts</title>" "$folder/dom" >"$folder/found" ||
        fail "$1, $2 wide, $3: $(grep -oE '<title>.*' "$folder/dom" | head -c 2000)"
}

# ---- one run ----

expect 0 'report: ' run "$folder/r.yaml" --out "$folder/run" --quiet --set distill.stages.0.losses.kl.weight=2
opened "$folder/run/report.html" 10 # 3 + 3 + 3 + 1
shows '>small</h1>' 'Gain by distillation' '>The networks</h2>' '>Training</h2>' '>What pulls the distilled student</h2>' \
    '>Class by class</h2>' '>Gram matrices</h2>' '>Test images</h2>' '>How it was made</h2>' 'Ankle boot' \
    'stem and stage1' 'distance: distilled student' 'Gradient at the logits' 'Accuracy for each class' '>Processor</dt>'
hides 'held-out' 'Teacher 1' 'stage 2 begins' 'Published'
# 4 networks for each of 6 pairs, a scale, and images.
[ "$(grep -o '<canvas' "$folder/dom" | wc -l)" -ge 47 ] || fail "$(grep -o '<canvas' "$folder/dom" | wc -l) canvases"
checked "$folder/run/report.html" 1200 light
checked "$folder/run/report.html" 1200 dark
checked "$folder/run/report.html" 360 light
"$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$folder/profile" --virtual-time-budget=10000 \
    --print-to-pdf="$folder/page.pdf" "file://$folder/run/report.html" 2>"$folder/log" || fail "print: $(tail -n 3 "$folder/log")"
[ "$(head -c 5 "$folder/page.pdf")" = '%PDF-' ] || fail 'print: no PDF'

# ---- other kinds of runs ----

# Images held out, and three teachers.
expect 0 'report: ' run "$folder/r.yaml" --out "$folder/three" --quiet --set data.val=20 --set teacher.count=3
opened "$folder/three/report.html" 11
shows 'Accuracy on held-out images, %' '>Teacher 1<' '>Teacher 2<' '>Teacher 3<' '3 teachers' '3&nbsp;×&nbsp;resnet:'
checked "$folder/three/report.html" 360 light

# Teachers that are given as files, of different sizes.
expect 0 'report: ' run "$folder/r.yaml" --out "$folder/other" --quiet --set teacher.network="resnet:depth=14,widths=16-16-16-16"
expect 0 'report: ' run "$folder/r.yaml" --out "$folder/given" --quiet --set teacher.network= \
    --set "teacher.weights=[$folder/run/teacher-1.safetensors, $folder/other/teacher-1.safetensors]"
opened "$folder/given/report.html" 10
shows '>Teacher 2<' 'resnet:depth=14' '2 teachers' ' and resnet:'

# Stages, generations, and students that teach each other.
sed 's/^distill: .*/distill: {preset: fsp}/' "$folder/r.yaml" >"$folder/s.yaml"
expect 0 'report: ' run "$folder/s.yaml" --out "$folder/stages" --quiet
opened "$folder/stages/report.html" 10
shows 'Distilled student: stage 2 begins with epoch 2.'
checked "$folder/stages/report.html" 1200 light
sed -e 's/, gram: {}//' -e 's/^distill: {/distill: {generations: 3, /' "$folder/r.yaml" >"$folder/g.yaml"
expect 0 'report: ' run "$folder/g.yaml" --out "$folder/generations" --quiet
opened "$folder/generations/report.html" 9
shows '>Generation 1<' '>Generation 2<' '>Distilled student<' 'generation 3 of a line whose first was taught by resnet'
hides '>Gram matrices<'
for part in generation-1 generation-2 student; do
    grep -q "\"file\": \"$part.safetensors\"" "$folder/generations/run.json" || fail "run.json: no $part"
done
shows '>Generation 1</th><td class="text">resnet' '>Generation 2</th><td class="text">resnet'
checked "$folder/generations/report.html" 360 dark
sed -e 's/, gram: {}//' -e 's/^distill: {/distill: {peers: 2, /' -e 's/^teacher: .*/teacher: {count: 0}/' "$folder/r.yaml" >"$folder/p.yaml"
expect 0 'report: ' run "$folder/p.yaml" --out "$folder/peers" --quiet
opened "$folder/peers/report.html" 9
shows '>Mutual student<' 'one of 2 that taught each other' 'mutual: '
hides 'Teacher' 'Distilled student'
checked "$folder/peers/report.html" 1200 light

# ---- several runs ----

# Two seeds of one recipe.
expect 0 'gain' run "$folder/r.yaml" --out "$folder/many" --repeat 2 --quiet --set data.val=20
opened "$folder/many/report.html" 15 # 2 + 2 + 11 of the run that is not folded
shows '>2 seeds of one recipe, on fashion-mnist.<' '>Side by side</h2>' ' ± ' '>small, mean ± sd<' 'Gain over the plain student' \
    'Students in training, held-out images' 'bands: ± standard deviation'
checked "$folder/many/report.html" 360 dark

# Recipes that differ, one of a published pair, one hardly begun with a hostile name.
mkdir "$folder/begun" "$folder/known"
name="</script><script>intruder = 1</script><img src=x onerror='intruder = 1'>"
sed "s|^name: .*|name: \"$name\"|" "$folder/run/recipe.yaml" >"$folder/begun/recipe.yaml"
cp "$folder/run/metrics.jsonl" "$folder/known"
sed 's|set: fashion-mnist|set: cifar100|' "$folder/run/recipe.yaml" >"$folder/known/recipe.yaml"
awk '/"network"/ { network = ++count == 1 ? "resnet:depth=56,shortcut=B" : "resnet:depth=20,shortcut=B"; sub(/"resnet:[^"]*"/, "\"" network "\"") } { print }' \
    "$folder/run/run.json" >"$folder/known/run.json"
expect 0 'page.html' report "$folder/many" "$folder/known" "$folder/begun" -o "$folder/page.html"
browse "$folder/page.html" 1200
shows '>Side by side</h2>' '&lt;/script&gt;&lt;script&gt;intruder = 1' 'This run was stopped' '>Published figures</h2>' \
    'ResNet-56 to ResNet-20 on cifar100' '>69.06<'
checked "$folder/page.html" 1200 light
checked "$folder/page.html" 360 light

# ---- what is not as it should be ----

# Begun: a recipe and nothing else; interrupted: in the middle of the teacher.
expect 0 'report.html' report "$folder/begun"
opened "$folder/begun/report.html" 0
shows 'This run was stopped.' '>How it was made</h2>'
checked "$folder/begun/report.html" 360 light
mkdir "$folder/interrupted"
cp "$folder/run/recipe.yaml" "$folder/interrupted"
head -n 1 "$folder/run/metrics.jsonl" >"$folder/interrupted/metrics.jsonl"
expect 0 'report.html' report "$folder/interrupted"
opened "$folder/interrupted/report.html" 2
shows 'This run was stopped at Teacher, epoch 1 of 2.'
hides 'Gram' 'Test images'
checked "$folder/interrupted/report.html" 1200 light

# No pictures; hostile classes; a recipe that tries to end the script that it stands in.
mkdir "$folder/bad"
cp "$folder/run/metrics.jsonl" "$folder/bad"
{ cat "$folder/run/recipe.yaml"; echo "# </pre></script><!--<script>intruder = 1</script>'\"\`\${intruder = 1}{{data}}"; } >"$folder/bad/recipe.yaml"
sed "s|\"Shirt\"|\"$name\"|; s|\"Bag\"|\"'a' \`b\` {{data}} \\\\u2028 \\\\\\\"c\\\\\\\"\"|" "$folder/run/run.json" >"$folder/bad/run.json"
expect 0 'report.html' report "$folder/bad"
opened "$folder/bad/report.html" 10
shows "'a' \`b\` {{data}}" '&lt;/pre&gt;&lt;/script&gt;&lt;!--'
hides '>Gram matrices<' '>Test images<' '<img'
checked "$folder/bad/report.html" 360 light

# A summary in which nothing is what it should be: what can be said is said, and no more.
mkdir "$folder/odd"
cp "$folder/run/recipe.yaml" "$folder/odd"
echo '{"name": 7, "seed": "x", "teachers": {"a": 1}, "baseline": {"network": 5, "top1": "high", "per_class": [1, "2"]}, "student": {}, "class_names": 3,
    "gain": [], "machine": 4, "versions": "new"}' >"$folder/odd/run.json"
printf '{"part":"student","epoch":"one","losses":{"ce":{}}}\n{"part":"student","epoch":1,"loss":"much"}\n{"part":"","epoch":2}\n' >"$folder/odd/metrics.jsonl"
expect 0 'report.html' report "$folder/odd"
opened "$folder/odd/report.html" 0
shows '>How it was made</h2>' '>small</h1>'
checked "$folder/odd/report.html" 1200 light
