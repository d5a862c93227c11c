# shellcheck shell=bash
# Installs distribution packages that are missing. Sourced.

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root to run: $* (there is no sudo here)"
    fi
}

# Packages of servers start their service on installation; ours are separate
# instances, and a system-wide one would only take the port. policy-rc.d is
# Debian's switch for that; one that exists already is left as it is.
without_service_start() {
    local policy=/usr/sbin/policy-rc.d made='' status=0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made=yes
    fi
    "$@" || status=$?
    [[ -z $made ]] || as_root rm -f "$policy"
    return "$status"
}

# Whether the distribution has a package; asks for the lists only when there are none.
package_known() {
    command -v apt-cache >/dev/null || return 1
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || as_root apt-get update -qq || true
    [[ -n $(apt-cache madison "$1" 2>/dev/null) ]]
}

# install_packages WHY PACKAGE...
install_packages() {
    local why=$1
    shift
    command -v apt-get >/dev/null ||
        die "$why is missing and there is no apt-get here; install what these Debian packages hold: $*"
    note "installing $* ($why)"
    mkdir -p "$LOG_DIR"
    as_root apt-get update -qq || say "apt-get update failed, trying with the lists at hand"
    without_service_start as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 "$@" >>"$LOG_DIR/apt.log" 2>&1 ||
        fail_with_log apt "apt-get could not install $*"
}

# Keeps the service of a package that we installed from coming up at boot.
disable_service() {
    [[ -d /run/systemd/system ]] || return 0
    as_root systemctl disable --quiet --now "$1" 2>/dev/null || true
}

# python_environment NAME REQUIREMENTS: installs the packages in an environment of their own; VENV is its folder.
python_environment() {
    # Named after its content, so that other versions are another environment.
    VENV=$LOCAL_DIR/$1-$(sha256sum <"$2" | cut -c1-12)
    [[ -f $VENV/.whole ]] && return
    python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages Python python3-venv
    note "installing $1"
    mkdir -p "$LOCAL_DIR"
    # Built aside, so that one that was interrupted is not taken for whole.
    local aside=$VENV.$$
    python3 -m venv "$aside"
    "$aside/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2" ||
        die "$1 cannot be installed"
    touch "$aside/.whole"
    rm -rf "$VENV" && mv "$aside" "$VENV"
}
