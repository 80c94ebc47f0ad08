#!/bin/sh
# embed.sh OUTPUT NAME=FILE[,FILE]... - C arrays web_NAME of the bytes of files, one after another; see report/web.h.
set -eu
output=$1
shift
{
    echo '#include "report/web.h"'
    for pair; do
        name=${pair%%=*} files=${pair#*=}
        echo "const unsigned char web_$name[] = {"
        # shellcheck disable=SC2086 # the list is to be split
        (IFS=, && od -An -v -tu1 $files) | sed 's/  */,/g; s/^,//; s/$/,/'
        echo '0};'
        echo "const size_t web_${name}_size = sizeof(web_$name) - 1;"
    done
} >"$output"
