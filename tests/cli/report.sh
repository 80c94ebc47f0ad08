#!/bin/sh
# report.sh RETORT - a run ends with a page; of its folder, of old ones and of several it can be made again.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
make_data
write_recipe "$folder/r.yaml"

# says PAGE TEXT...: the page holds each text.
says() {
    page=$1
    shift
    for text; do
        grep -qF -e "$text" "$page" || fail "$page: \"$text\" wanted"
    done
}

expect 0 "report: $folder/run/report.html" run "$folder/r.yaml" --out "$folder/run" --quiet
[ "$(tail -n 1 "$folder/out")" = "report: $folder/run/report.html" ] ||
    fail "the path of the report last wanted: $(tail -n 1 "$folder/out")"
says "$folder/run/report.html" '<title>small - retort</title>' 'Chart.js v3' '"classes":' '"grams":[{"pair":"stem-stage1"' \
    '"samples":{' '"student.start"' '"machine":{"processor"' '</html>'
[ -s "$folder/run/exhibits.safetensors" ] || fail "no exhibits.safetensors"
[ ! -e "$folder/run/lock" ] || fail "a lock is left"
for key in per_class class_names training_seconds test_images machine processor cores threads precision; do
    grep -q "\"$key\":" "$folder/run/run.json" || fail "run.json: no $key"
done

# A resumed run makes the same exhibits, and --json prints nothing but JSON.
cp "$folder/run/exhibits.safetensors" "$folder/first"
rm "$folder/run/exhibits.safetensors" "$folder/run/report.html"
expect 0 '"gain"' run "$folder/r.yaml" --out "$folder/run" --resume --quiet --json
cmp "$folder/first" "$folder/run/exhibits.safetensors" || fail "other exhibits"
[ -s "$folder/run/report.html" ] || fail "--json: no report"
if grep -q report.html "$folder/out"; then fail "--json: $(cat "$folder/out")"; fi

expect 0 "$folder/page.html" report "$folder/run" -o "$folder/page.html"
cmp "$folder/page.html" "$folder/run/report.html" || fail "another page"

# What earlier versions wrote, and runs that are not done.
mkdir "$folder/old" "$folder/begun"
cp "$folder/run/recipe.yaml" "$folder/run/metrics.jsonl" "$folder/old"
cp "$folder/run/recipe.yaml" "$folder/begun"
sed -n '/^{/p; /"name"/p; /"seed"/p; $p' "$folder/run/run.json" | sed 's/"seed": 1,/"seed": 1/' >"$folder/old/run.json"
expect 0 "$folder/old/report.html" report "$folder/old"
says "$folder/old/report.html" '<title>small - retort</title>' '"epochs":[{'
expect 0 "$folder/begun/report.html" report "$folder/begun"
says "$folder/begun/report.html" '"state":"stopped"'

expect 0 'gain' run "$folder/r.yaml" --out "$folder/many" --repeat 2 --set teacher.seed=5 --no-report --quiet
[ ! -e "$folder/many/report.html" ] || fail "--no-report made one"
expect 0 "$folder/many/report.html" report "$folder/many" "$folder/old"
says "$folder/many/report.html" 'small and 2 more' '"runs":[0,1]' '"sd":'

# Names are hostile.
mkdir "$folder/bad"
name='</script><script>alert(1)</script>'
sed "s|^name: .*|name: \"$name\"|" "$folder/run/recipe.yaml" >"$folder/bad/recipe.yaml"
sed "s|\"name\": .*|\"name\": \"$name\",|; s|\"T-shirt/top\"|\"$name\"|" "$folder/run/run.json" >"$folder/bad/run.json"
expect 0 "$folder/bad/report.html" report "$folder/bad"
if grep -qF '<script>alert' "$folder/bad/report.html"; then fail "a name became a script"; fi
says "$folder/bad/report.html" '&lt;/script&gt;' '\u003c/script\u003e'

# Files that are damaged are named, and no page is made of half of them.
mkdir "$folder/damaged"
cp "$folder/run/"* "$folder/damaged" 2>/dev/null || true
rm -f "$folder/damaged/report.html"
head -c 300 "$folder/run/metrics.jsonl" >"$folder/damaged/metrics.jsonl"
expect 1 "$folder/damaged: metrics.jsonl:1: the line is no JSON" report "$folder/damaged"
printf '{"part":"student","losses":[]}\n' >"$folder/damaged/metrics.jsonl"
expect 1 "metrics.jsonl:1: an object with a part and losses wanted" report "$folder/damaged"
cp "$folder/run/metrics.jsonl" "$folder/damaged"
head -c 1000 "$folder/run/exhibits.safetensors" >"$folder/damaged/exhibits.safetensors"
expect 1 "$folder/damaged/exhibits.safetensors" report "$folder/damaged"
cp "$folder/run/exhibits.safetensors" "$folder/damaged"
head -c 100 "$folder/run/run.json" >"$folder/damaged/run.json"
expect 1 'run.json is no JSON' report "$folder/damaged"
[ ! -e "$folder/damaged/report.html" ] || fail 'a page of damaged files'
# Without pictures there is a page without them.
cp "$folder/run/run.json" "$folder/damaged"
rm "$folder/damaged/exhibits.safetensors"
expect 0 "$folder/damaged/report.html" report "$folder/damaged"
if grep -qF '"samples":' "$folder/damaged/report.html"; then fail 'pictures from nowhere'; fi

expect 1 "a run's folder wanted" report "$folder"
expect 1 "a run's folder wanted" report "$folder/nowhere"
expect 1 "$folder/nowhere/page.html" report "$folder/run" -o "$folder/nowhere/page.html"
expect 2 "a run's folder wanted" report
