#!/bin/sh
# common.sh - what the scripts of this folder share; each begins with
#     . "$(dirname "$0")/common.sh"
# and gets the path of the program as its first argument. $folder is a temporary folder of its own.
set -eu
retort=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "${0##*/}: $1"
    exit 1
}

# expect CODE TEXT ARGUMENT...: the program ends with this code and says TEXT on stdout or stderr.
# Neither is a terminal, so neither may hold an escape code; a failure is one sentence that begins
# with the program's name. $folder/out and $folder/err are left for more.
expect() {
    wanted=$1 text=$2
    shift 2
    code=0
    "$retort" "$@" >"$folder/out" 2>"$folder/err" </dev/null || code=$?
    if grep -qE 'Sanitizer|runtime error' "$folder/err"; then
        fail "retort $*: $(cat "$folder/err")"
    fi
    [ "$code" -eq "$wanted" ] ||
        fail "retort $*: exit code $code, $wanted wanted: $(tail -n 3 "$folder/err")"
    grep -qF -e "$text" "$folder/out" "$folder/err" ||
        fail "retort $*: \"$text\" wanted: $(cat "$folder/err" "$folder/out" | head -c 1000)"
    if LC_ALL=C grep -q "$(printf '\033')" "$folder/out" "$folder/err"; then
        fail "retort $*: an escape code, and no terminal"
    fi
    if [ "$wanted" -eq 1 ] && ! tail -n 1 "$folder/err" | grep -q '^retort: '; then
        fail "retort $*: a sentence that begins with retort: wanted: $(cat "$folder/err")"
    fi
}

# big_endian NUMBER: four bytes.
big_endian() {
    # shellcheck disable=SC2059 # the format is made of the number
    printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255)))"
}

# idx NAME COUNT: images and labels, grey 28x28, one shade for each of ten classes.
idx() {
    images=$folder/data/$1-images-idx3-ubyte labels=$folder/data/$1-labels-idx1-ubyte
    { big_endian 2051; big_endian "$2"; big_endian 28; big_endian 28; } >"$images"
    { big_endian 2049; big_endian "$2"; } >"$labels"
    i=0
    while [ "$i" -lt "$2" ]; do
        class=$((i % 10))
        head -c 784 /dev/zero | tr '\0' "\\$(printf %03o $((class * 25)))" >>"$images"
        # shellcheck disable=SC2059
        printf "\\$(printf %03o $class)" >>"$labels"
        i=$((i + 1))
    done
}

# A data set of 40 and 30 images in $folder/data.
make_data() {
    mkdir "$folder/data"
    idx train 40
    idx t10k 30
}

# make_cifar100 FOLDER COUNT: so many records of noise in train.bin and test.bin.
make_cifar100() {
    mkdir -p "$1"
    i=0
    while [ "$i" -lt 100 ]; do
        echo "class$i"
        i=$((i + 1))
    done >"$1/fine_label_names.txt"
    i=0
    while [ "$i" -lt "$2" ]; do
        # shellcheck disable=SC2059
        printf "\\000\\$(printf %03o $((i % 100)))"
        head -c 3072 /dev/urandom
        i=$((i + 1))
    done >"$1/train.bin"
    cp "$1/train.bin" "$1/test.bin"
}

# write_recipe FILE: small, quick, and good.
write_recipe() {
    cat >"$1" <<END
name: small
threads: 1
data: {set: fashion-mnist, path: $folder/data}
teacher: {network: "resnet:depth=8,widths=16-16-16-16", train: {epochs: 2, batch: 8, lr: 0.01}}
student: {network: "resnet:depth=8,widths=16-16-16-16", train: {epochs: 2, batch: 8, lr: 0.01}}
distill: {stages: [{losses: {ce: {}, kl: {}, gram: {}}}]}
END
}
