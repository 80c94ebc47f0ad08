#!/bin/sh
# embed.sh OUTPUT NAME=FILE... - C arrays web_NAME of the bytes of files, see report/web.h.
set -eu
output=$1
shift
{
    echo '#include "report/web.h"'
    for pair; do
        name=${pair%%=*} file=${pair#*=}
        echo "const unsigned char web_$name[] = {"
        od -An -v -tu1 "$file" | sed 's/  */,/g; s/^,//; s/$/,/'
        echo '0};'
        echo "const size_t web_${name}_size = sizeof(web_$name) - 1;"
    done
} >"$output"
