#!/usr/bin/env bash
# Builds a container image with buildah: the static binary and nothing else.
#
#   scripts/image.sh                         for this machine's processor: localhost/accountd:VERSION
#   scripts/image.sh amd64=FILE arm64=FILE   one manifest of several processors, from static binaries
#   scripts/image.sh --try                   builds it and tries it with podman and runc; needs root
#
# An OCI archive is written to target/image as well: `skopeo copy oci-archive:FILE docker://REGISTRY/NAME` publishes it, and
# `docker load` reads it. IMAGE_ROOT is the folder for buildah's and podman's storage (target/image/storage).
set -euo pipefail
cd "$(dirname "$0")/.."

# Bytes, all layers together.
largest=4000000

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

storage=${IMAGE_ROOT:-$PWD/target/image/storage}
options=(--storage-driver vfs --root "$storage/root" --runroot "$storage/run")
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=localhost/accountd:$version

# Builds the static binary for this machine and prints ARCH=FILE.
static() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --quiet --bin accountd --target "$host" >&2
    echo "$(dpkg --print-architecture)=target/$host/release/accountd"
}

# build ARCH=FILE...: builds a manifest with an image for each architecture, and its archive.
build() {
    local work one
    work=$(mktemp -d)
    mkdir "$work/data"
    buildah "${options[@]}" manifest rm "$name" >/dev/null 2>&1 || true
    buildah "${options[@]}" rmi "$name" >/dev/null 2>&1 || true
    buildah "${options[@]}" manifest create "$name" >/dev/null
    for one in "$@"; do
        install -m 755 "${one#*=}" "$work/accountd"
        # The health check needs Docker's format; OCI's has none.
        buildah "${options[@]}" build --quiet --isolation chroot --format docker --arch "${one%%=*}" --timestamp "$SOURCE_DATE_EPOCH" \
            --label org.opencontainers.image.title=accountd \
            --label "org.opencontainers.image.version=$version" \
            --label org.opencontainers.image.description="An account server for one box" \
            --label org.opencontainers.image.licenses="MIT OR Apache-2.0" \
            --label "org.opencontainers.image.created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" \
            --label "org.opencontainers.image.revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
            --manifest "$name" --file scripts/service/Containerfile "$work" >/dev/null
        size=$(stat -c %s "$work/accountd")
        [ "$size" -lt $largest ] || fail "the image for ${one%%=*} has $size bytes, and may have less than $largest"
        echo "$name for ${one%%=*}: $size bytes"
    done
    rm -r "$work"
    rm -f "target/image/accountd-$version.tar"
    buildah "${options[@]}" manifest push --all --quiet "$name" "oci-archive:target/image/accountd-$version.tar:$version" >/dev/null
    echo "target/image/accountd-$version.tar"
}

mkdir -p target/image
case ${1:-} in
"") build "$(static)" ;;
--try)
    build "$(static)"
    exec scripts/container.py "$name" "${options[@]}"
    ;;
*=*) build "$@" ;;
*)
    sed -n '2,9p' "$0" >&2
    exit 2
    ;;
esac
