#!/bin/sh
# dependencies.sh [ROOT] - no include goes against the direction of the folders, and each outside
# library is included where it is meant to be. Prints every violation; exit code 1 when there is one.
set -eu
cd "${1:-$(dirname "$0")/../..}"

# What may be included by files below a folder, as the beginning of the name between the quotes.
folders='
include      retort/
src/base     retort/status.h base/
src/data     retort/data.h base/ data/
src/nn       retort/network.h base/ nn/
src/distill  base/ nn/bf16.h nn/graph.h nn/model.h nn/op/op.h nn/tensor.h nn/vector.h distill/
src/recipe   base/ distill/ensemble.h distill/loss.h recipe/
src/train    retort/ base/ data/ nn/ distill/ recipe/ train/
src/deploy   retort/classifier.h base/ nn/ deploy/
src/report   retort/report.h retort/version.h base/ nn/ report/
cli          retort/ *
examples
fuzz         base/ data/ *
'
# "*" above: headers of the same folder, which have no slash in their names.

# Headers of outside libraries, and where they may be included, as beginnings of paths.
libraries='
dnnl.h           src/nn/engine/onednn
archive.h        src/data/stream.c src/data/tar.c src/data/zip.c tests/ fuzz/
archive_entry.h  src/data/stream.c src/data/tar.c src/data/zip.c tests/ fuzz/
jpeglib.h        src/data/image_file.c tests/images.c
jerror.h         src/data/image_file.c
png.h            src/data/image_file.c tests/images.c tests/failing.c
zlib.h           src/data/gzip.c tests/data/test_gzip.c tests/data/test_image_file.c
curl/curl.h      src/data/fetch.c
nettle/          src/data/fetch.c tests/data/
cyaml/cyaml.h    src/recipe/
yaml.h           src/recipe/
events.pb-c.h    src/train/events.c
argp.h           cli/
cmocka.h         tests/support.h
immintrin.h      src/base/cpu.c
cpuid.h          src/base/cpu.c
omp.h            src/distill/ src/nn/engine/executor.c src/nn/engine/batch_norm_kernel.c src/nn/engine/depthwise.c src/nn/engine/winograd_ src/train/ tests/
pthread.h        src/data/loader.c tests/
jansson.h        src/base/ src/data/shard.c src/data/shard_write.c src/data/shard_parts.h src/nn/ src/recipe/ src/train/ src/report/ cli/ tests/
retort/          examples/
'

# The C library and Linux, free to all.
system='arpa/ assert.h ctype.h dirent.h dlfcn.h errno.h fcntl.h float.h ftw.h glob.h inttypes.h limits.h malloc.h math.h
setjmp.h signal.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h strings.h
time.h unistd.h netinet/ sys/'

find include src cli examples fuzz tests -name '*.[ch]' -exec grep -HnE '^[[:space:]]*#[[:space:]]*include' {} + |
    awk -v folders="$folders" -v libraries="$libraries" -v system_headers="$system" '
    # Does text begin with one of the words list[2..count]?
    function begins(text, list, from, count,    i) {
        for (i = from; i <= count; i++)
            if (index(text, list[i]) == 1 || (list[i] == "*" && text !~ "/"))
                return 1
        return 0
    }
    function tell(why) {
        gsub(/ +/, " ", why)
        print file ":" line ": " header ": " why
        found = 1
    }
    BEGIN {
        folder_count = split(folders, folder, "\n")
        library_count = split(libraries, library, "\n")
        system_count = split(system_headers, free, /[ \n]+/)
    }
    {
        seen++
        split($0, place, ":")
        file = place[1]; line = place[2]
        header = $0
        sub(/^[^<"]*/, "", header)
        name = substr(header, 2)
        sub(/[>"].*/, "", name)
    }
    header ~ /^"/ {
        if (file ~ /^tests\//)
            next
        known = 0
        for (i = 1; i <= folder_count; i++) {
            count = split(folder[i], allowed, /[ ]+/)
            if (count && allowed[1] != "" && index(file, allowed[1] "/") == 1) {
                known = 1
                if (!begins(name, allowed, 2, count))
                    tell("not for " allowed[1] "; allowed there:" substr(folder[i], length(allowed[1]) + 1))
            }
        }
        if (!known)
            tell("a folder that the table of dependencies.sh does not know")
        next
    }
    header ~ /^</ {
        if (begins(name, free, 1, system_count))
            next
        known = 0
        for (i = 1; i <= library_count; i++) {
            count = split(library[i], allowed, /[ ]+/)
            if (count && allowed[1] != "" && index(name, allowed[1]) == 1) {
                known = 1
                if (!begins(file, allowed, 2, count))
                    tell("not here; allowed in:" substr(library[i], length(allowed[1]) + 1))
            }
        }
        if (!known)
            tell("neither the C library nor a library that dependencies.sh knows")
        next
    }
    { tell("an include that dependencies.sh cannot read") }
    END {
        if (!seen) {
            print "no include found: is this the source tree?"
            found = 1
        }
        if (!found)
            print seen " includes, all of them the right way"
        exit found
    }'
