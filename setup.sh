#!/bin/sh
# setup.sh - install what building, testing and the demo need, where it is missing (Debian 12 and
# its relatives). The only list of these packages. Does nothing, quickly, when all are there.
set -eu

packages="gcc libc6-dev make meson ninja-build pkg-config \
    libdnnl-dev libjansson-dev libarchive-dev libjpeg62-turbo-dev libpng-dev zlib1g-dev \
    libcurl4-openssl-dev nettle-dev libcyaml-dev libyaml-dev libcmocka-dev \
    libprotobuf-c-dev protobuf-c-compiler \
    libjs-chart.js \
    dataset-fashion-mnist"

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup.sh: no Debian here; these packages, by whatever name, are needed: $packages" >&2
    exit 0
fi

missing=
for package in $packages; do
    state=$(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null) || state=
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: not root and no sudo; as root: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi

echo "setup.sh: installing$missing" >&2
$as_root apt-get update >&2
# shellcheck disable=SC2086 # a list of names
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing >&2
