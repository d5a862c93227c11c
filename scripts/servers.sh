#!/usr/bin/env bash
# Kafka, Postgres and Redis of our own, below .local/, without containers; a schema registry where it is named.
#   scripts/servers.sh install|start|stop|status|clean [kafka|postgres|redis|registry]...
#   scripts/servers.sh backup|restore DIRECTORY [postgres|redis]...
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"
# shellcheck source=scripts/servers/kafka.sh
. "$ROOT/scripts/servers/kafka.sh"
# shellcheck source=scripts/servers/postgres.sh
. "$ROOT/scripts/servers/postgres.sh"
# shellcheck source=scripts/servers/redis.sh
. "$ROOT/scripts/servers/redis.sh"
# shellcheck source=scripts/servers/registry.sh
. "$ROOT/scripts/servers/registry.sh"

usage() {
    cat <<'END'
usage: scripts/servers.sh COMMAND [kafka|postgres|redis|registry]...
       scripts/servers.sh backup|restore DIRECTORY [postgres|redis]...
  install what is missing to start them
  start   install, start, wait until they answer
  stop    stop them; their data stay
  status  what runs where (fails when one does not)
  clean   stop them and remove their data
  backup  copy Postgres and Redis into DIRECTORY while they are used
  restore put that copy in the place of their data, which are kept beside it;
          Kafka is not copied: what the copy lacks is read from it once more
Without names: the first three. A server given by KAFKA_BROKERS, DATABASE_URL or
REDIS_URL is used as it is, never started, stopped or cleaned.
END
}

# The mark by which the process of a server is known, see lib.sh.
mark_of() {
    local variable=${1^^}_MARK
    echo "${!variable}"
}

# The ports that a server was started on, as one line.
ports_now() {
    local -n variables=${1^^}_PORT_VARIABLES
    local name line=''
    for name in "${variables[@]}"; do line+=" $name=${!name}"; done
    echo "${line# }"
}

ports_started() { cat "$RUN_DIR/$1.ports" 2>/dev/null; }

# Alive and holding its port. One that does not is coming up, or was just killed
# and has not noticed yet.
still_running() {
    local mark port=${1^^}_PORT
    mark=$(mark_of "$1")
    running_pid "$1" "$mark" >/dev/null || return 1
    if ! port_taken "${!port}"; then sleep 0.5; fi
    running_pid "$1" "$mark" >/dev/null
}

# Fails when the server has to be started; dies when it cannot be.
already_running() {
    local server=$1 name
    if still_running "$server"; then
        [[ $(ports_started "$server") == "$(ports_now "$server")" ]] ||
            die "$server runs with $(ports_started "$server"), the settings say" \
                "$(ports_now "$server"); stop it first: scripts/servers.sh stop $server"
        return 0
    fi
    await_ending "$server"
    local -n variables=${server^^}_PORT_VARIABLES
    for name in "${variables[@]}"; do need_port "$name"; done
    return 1
}

start_all() {
    local server ours=() to_start=()
    # All are checked before the first is started, and they come up side by side.
    for server in "$@"; do
        if [[ -n $(given_by "$server") ]]; then
            note "$server: using the one given by $(given_by "$server")"
            continue
        fi
        ours+=("$server")
        if already_running "$server"; then
            note "$server runs already"
        else
            to_start+=("$server")
        fi
    done
    for server in "${to_start[@]}"; do
        note "starting $server"
        ports_now "$server" >"$RUN_DIR/$server.ports"
        "${server}_start"
    done
    for server in "${ours[@]}"; do
        "${server}_wait"
        note "$server is ready: $(address_of "$server")"
    done
}

address_of() {
    local variable=${1^^}_PORT
    "${1}_address" "${!variable}"
}

install_all() {
    local server
    for server in "$@"; do "${server}_install"; done
}

stop_all() {
    local server
    for server in "$@"; do
        if [[ -n $(given_by "$server") ]]; then
            say "$server is given by $(given_by "$server"), left alone"
        else
            "${server}_stop"
        fi
    done
}

clean_all() {
    local server
    stop_all "$@"
    for server in "$@"; do
        [[ -z $(given_by "$server") ]] || continue
        "${server}_clean"
        rm -f "$RUN_DIR/$server.ports"
        say "$server: data removed"
    done
}

# backup_all DIRECTORY SERVER...
backup_all() {
    local directory=$1 server
    shift
    mkdir -p "$directory"
    for server in "$@"; do
        [[ ! -e $directory/$server ]] || die "$directory/$server is there already; name a new directory"
        if [[ -z $(given_by "$server") ]] && ! still_running "$server"; then die "$server does not run"; fi
        "${server}_backup" "$directory/$server.part"
        mv "$directory/$server.part" "$directory/$server"
        note "$server: copied to $directory/$server ($(du -sh "$directory/$server" | cut -f 1))"
    done
}

# restore_all DIRECTORY SERVER...
restore_all() {
    local directory=$1 server
    shift
    for server in "$@"; do
        [[ -z $(given_by "$server") ]] || die "$server is given by $(given_by "$server"); restore it by its own means"
        [[ -e $directory/$server ]] || die "no $directory/$server; scripts/servers.sh backup $directory makes it"
        ! still_running "$server" || die "$server runs; stop it first: scripts/servers.sh stop $server"
    done
    for server in "$@"; do
        "${server}_restore" "$directory/$server"
        note "$server: restored from $directory/$server"
    done
}

status_all() {
    local server pid status=0
    for server in "$@"; do
        if [[ -n $(given_by "$server") ]]; then
            printf '%-9s given by %s\n' "$server" "$(given_by "$server")"
        elif pid=$(running_pid "$server" "$(mark_of "$server")"); then
            printf '%-9s running  pid %-7s %s\n' "$server" "$pid" "$(ports_started "$server")"
        else
            printf '%-9s stopped\n' "$server"
            status=1
        fi
    done
    return "$status"
}

main() {
    local command=${1-} server directory=()
    case $command in
    install | start | stop | status | clean) shift ;;
    backup | restore)
        (($# > 1)) || { usage >&2 && return 2; }
        directory=("$(realpath -m -- "$2")")
        shift 2
        (($# > 0)) || set -- postgres redis
        [[ " $* " != *" kafka "* ]] || die "Kafka is not copied: it is what the others are read from again"
        [[ " $* " != *" registry "* ]] || die "the registry is not copied: the fleet registers its schemas again"
        ;;
    help | -h | --help) usage && return ;;
    *) usage >&2 && return 2 ;;
    esac
    (($# > 0)) || set -- kafka postgres redis
    for server in "$@"; do
        [[ $server =~ ^(kafka|postgres|redis|registry)$ ]] ||
            die "no such server: $server (kafka, postgres, redis or registry)"
    done
    mkdir -p "$LOG_DIR" "$RUN_DIR"
    # One at a time: two starts side by side would both create the cluster.
    if [[ $command != status ]]; then
        exec 9>"$RUN_DIR/servers.lock"
        flock -w 600 9 || die "another scripts/servers.sh has been running for ten minutes"
    fi
    "${command}_all" "${directory[@]}" "$@"
}

main "$@"
