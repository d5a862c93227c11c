#!/usr/bin/env bash
# Builds the images of the services with docker, podman or buildah, whichever is there, and tries each:
#   scripts/images.sh            BUILDER=podman TAG=1.2.0 scripts/images.sh
#
# Base images come by their names. Where no registry can be reached they are made from Debian's packages and this
# machine's Rust, which takes root and debootstrap.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

TAG=${TAG:-latest}
RUST_IMAGE=${RUST_IMAGE:-rust:1.95.0-bookworm}
RUNTIME_IMAGE=${RUNTIME_IMAGE:-debian:bookworm-slim}
ROOTS=$LOCAL_DIR/images

# Target of the Dockerfile and name of its image.
IMAGES=(data-source:strata-data-source stg:strata-stg dds:strata-dds cdm:strata-cdm strata:strata-cli)

builder() {
    local tool
    for tool in ${BUILDER:-docker podman buildah}; do
        if command -v "$tool" >/dev/null && "$tool" info >/dev/null 2>&1; then
            echo "$tool"
            return
        fi
    done
    die "none of ${BUILDER:-docker, podman, buildah} works here; install one, or start dockerd"
}

has_image() {
    case $TOOL in
        buildah) buildah inspect --type image "$1" >/dev/null 2>&1 || buildah pull -q "$1" >/dev/null 2>&1 ;;
        *) "$TOOL" image inspect "$1" >/dev/null 2>&1 || "$TOOL" pull -q "$1" >/dev/null 2>&1 ;;
    esac
}

# root NAME PACKAGES: a small Debian in a folder, without what no container reads.
root() {
    local folder=$ROOTS/$1
    [[ -f $folder.done ]] && return
    command -v debootstrap >/dev/null || die "no registry answers: install debootstrap, to make base images"
    rm -rf "$folder"
    mkdir -p "$ROOTS"
    debootstrap --variant=minbase ${2:+--include="$2"} bookworm "$folder" >"$LOG_DIR/debootstrap.log" 2>&1 ||
        fail_with_log debootstrap "debootstrap failed"
    rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/* "$folder"/var/log/*.log \
        "$folder"/usr/share/{doc,man,info,locale,i18n}
    mkdir -p "$folder/etc/ssl/certs"
    cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
    touch "$folder.done"
}

# image NAME FOLDER: a folder as an image.
image() {
    if [[ $TOOL == buildah ]]; then
        local container
        container=$(buildah from scratch)
        buildah add -q "$container" "$2" / >/dev/null
        buildah commit -q --rm "$container" "$1" >/dev/null
    else
        tar -C "$2" -c . | "$TOOL" import - "$1" >/dev/null
    fi
}

# Base images of this machine's own, under names of their own: those of a registry stay what they are.
make_bases() {
    note "no registry answers: making base images from Debian's packages"
    mkdir -p "$LOG_DIR"
    root runtime ''
    root rust ca-certificates,gcc,g++,make,pkg-config,libssl-dev,zlib1g-dev
    [[ -x $ROOTS/rust/usr/local/bin/cargo ]] || cp -r "$(rustc --print sysroot)"/{bin,lib} "$ROOTS/rust/usr/local/"
    # Once: an image that is imported again is another one, on which nothing that was built stands.
    has_image strata-base-runtime || image strata-base-runtime "$ROOTS/runtime"
    has_image strata-base-rust || image strata-base-rust "$ROOTS/rust"
    RUST_IMAGE=strata-base-rust RUNTIME_IMAGE=strata-base-runtime
}

build() {
    local arguments=(--target "$1" -t "$2:$TAG" --build-arg "RUST_IMAGE=$RUST_IMAGE"
        --build-arg "RUNTIME_IMAGE=$RUNTIME_IMAGE" --network host)
    case $TOOL in
        docker) DOCKER_BUILDKIT=1 docker build --progress plain "${arguments[@]}" "$ROOT" ;;
        *) "$TOOL" build "${arguments[@]}" "$ROOT" ;;
    esac
}

# try IMAGE: it runs, and is of this version.
try() {
    local said
    if [[ $TOOL == buildah ]]; then
        local container
        container=$(buildah from --pull-never "$1")
        said=$(buildah run "$container" -- "/usr/local/bin/$2" --version)
        buildah rm "$container" >/dev/null
    else
        said=$("$TOOL" run --rm --network none "$1" --version)
    fi
    [[ $said == *" $(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)" ]] ||
        die "$1 --version says: $said"
    say "  $1: $said"
}

TOOL=$(builder)
note "building with $TOOL"
if ! { has_image "$RUST_IMAGE" && has_image "$RUNTIME_IMAGE"; }; then make_bases; fi
for image in "${IMAGES[@]}"; do build "${image%%:*}" "${image#*:}"; done
note "trying them"
for image in "${IMAGES[@]}"; do try "${image#*:}:$TAG" "${image%%:*}"; done
