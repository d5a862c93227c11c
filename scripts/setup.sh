#!/usr/bin/env bash
# Installs what the build needs and is missing. Quick when nothing is.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"

# librdkafka is built from its source by cargo, hence C++, zlib and OpenSSL.
install_build_tools() {
    local missing=()
    command -v cc >/dev/null && command -v c++ >/dev/null || missing+=(build-essential)
    command -v make >/dev/null || missing+=(make)
    command -v pkg-config >/dev/null || missing+=(pkg-config)
    command -v curl >/dev/null || missing+=(curl)
    command -v git >/dev/null || missing+=(git)
    [[ -f /etc/ssl/certs/ca-certificates.crt || -d /etc/pki || -n ${SSL_CERT_FILE-} ]] ||
        missing+=(ca-certificates)
    has_header zlib.h || missing+=(zlib1g-dev)
    has_header openssl/ssl.h || missing+=(libssl-dev)
    ((${#missing[@]} == 0)) || install_packages "needed to build" "${missing[@]}"
}

has_header() { echo "#include <$1>" | cc -E - >/dev/null 2>&1; }

# The distribution's own cargo is usually too old, so it is rustup either way.
install_rust() {
    command -v cargo >/dev/null && return
    if package_known rustup; then
        install_packages Rust rustup
    else
        note "installing Rust with rustup"
        local installer
        installer=$(mktemp)
        if ! curl --proto '=https' --tlsv1.2 -fsSL --retry 2 https://sh.rustup.rs -o "$installer" ||
            ! sh "$installer" -y --profile minimal --no-modify-path >/dev/null; then
            rm -f "$installer"
            die "Rust is missing and rustup could not be installed; install Rust" \
                "(https://rustup.rs) so that cargo is in the PATH"
        fi
        rm -f "$installer"
        export PATH="$CARGO_BIN:$PATH"
    fi
    # rustup of a distribution comes without a toolchain.
    (cd "$ROOT" && cargo --version >/dev/null 2>&1) ||
        rustup default stable >/dev/null 2>&1 ||
        die "rustup is there but could not install a toolchain; run: rustup default stable"
}

# fmt and clippy are for make check.
install_rust_components() {
    cd "$ROOT"
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    command -v rustup >/dev/null && rustup component add rustfmt clippy >/dev/null 2>&1 && return
    say "warning: cargo fmt or cargo clippy is missing; make check will not work"
}

install_build_tools
install_rust
install_rust_components
