#!/bin/sh
# install.sh SOURCE BUILD [FLAGS...] - what `meson install` puts into a folder is complete: program,
# manual page, headers and library, by which pkg-config and the compiler (CC, with FLAGS) make
# examples/classify.c. The library exports the functions of the public headers and nothing else.
set -eu
source=$1 build=$2
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "install.sh: $1"
    exit 1
}

DESTDIR=$folder meson install -C "$build" --no-rebuild >"$folder/log" || fail "$(cat "$folder/log")"
find "$folder" -type f -o -type l | sed "s|$folder||" | sort

# The prefix is whatever the build was configured with.
pc=$(find "$folder" -name retort.pc)
retort=$(find "$folder" -path '*/bin/retort')
[ -f "$pc" ] || fail "no retort.pc"
[ -x "$retort" ] || fail "no program"
[ -n "$(find "$folder" -path '*/man/man1/retort.1*')" ] || fail "no manual page"
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$folder"

version=$("$retort" --version)
[ "$version" = "retort $(pkg-config --modversion retort)" ] ||
    fail "program and retort.pc disagree: $version, $(pkg-config --modversion retort)"

# Each public header stands alone.
for header in "$source"/include/retort/*.h; do
    # shellcheck disable=SC2046 # flags are words
    echo "#include <retort/${header##*/}>" |
        ${CC:-cc} -Wall -Werror -std=c99 $(pkg-config --cflags retort) -fsyntax-only -x c - ||
        fail "${header##*/} does not stand alone"
done

# shellcheck disable=SC2046
${CC:-cc} "$@" "$source/examples/classify.c" $(pkg-config --cflags --libs retort) -o "$folder/classify"
library=$(dirname "$(find "$folder" -name libretort.so)")
code=0
LD_LIBRARY_PATH=$library "$folder/classify" "$folder/none" "$folder/none" >"$folder/log" 2>&1 || code=$?
if [ "$code" -ne 1 ] || ! grep -q "$folder/none: " "$folder/log"; then
    fail "classify: exit code $code: $(cat "$folder/log")"
fi

# Exported is what the headers declare.
grep -ho 'RETORT_API[^;]*' -z "$source"/include/retort/*.h | tr '\0' '\n' |
    grep -oE 'retort_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$folder/declared"
nm --dynamic --defined-only "$library/libretort.so" | awk '{print $NF}' | sort -u >"$folder/exported"
diff "$folder/declared" "$folder/exported" || fail "declared (<) and exported (>) differ"
echo "$(wc -l <"$folder/exported") functions exported"
