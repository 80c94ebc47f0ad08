#!/bin/sh
# eval.sh RETORT - damaged and foreign model files are refused with a sentence, and nothing crashes.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"
make_data
write_recipe "$folder/r.yaml"
expect 0 '' train "$folder/r.yaml" --out "$folder/run" --quiet
model=$folder/run/baseline.safetensors bad=$folder/bad.safetensors
size=$(wc -c <"$model")

refused() {
    expect 1 'bad.safetensors' eval "$bad" --data "fashion-mnist:$folder/data"
    expect 1 'bad.safetensors' inspect "$bad"
}

for kept in 0 1 7 8 9 100 1000 $((size / 2)) $((size - 1)); do
    head -c "$kept" "$model" >"$bad"
    refused
done
{ cat "$model"; printf x; } >"$bad"
refused
echo 'This is a text.' >"$bad"
refused
cp "$folder/r.yaml" "$bad"
refused
{ printf '\377\377\377\377\377\377\377\177'; tail -c +9 "$model"; } >"$bad" # a huge header
refused
{ printf '\377\377\377\377\377\377\377\377'; tail -c +9 "$model"; } >"$bad"
refused
{ head -c 8 "$model"; head -c 500 /dev/zero; tail -c +509 "$model"; } >"$bad"
refused
head -c 5000 /dev/urandom >"$bad"
refused
# A number that is none: the last weight becomes NaN.
{ head -c $((size - 4)) "$model"; printf '\377\377\377\177'; } >"$bad"
refused
cp "$folder/run/run.json" "$bad"
refused
rm "$bad"
mkdir "$bad"
refused

# Good models, other data.
expect 1 "$model: class 0 is called T-shirt/top, in the data set mnist it is 0" eval "$model" --data "mnist:$folder/data"
expect 1 'cows' eval "$model" --data cows
expect 1 '/nowhere' eval "$model" --data fashion-mnist:/nowhere
expect 1 'train-images' eval "$model" --data "fashion-mnist:$folder/run"
