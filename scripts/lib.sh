# shellcheck shell=bash
# Common ground of the scripts: paths, settings, messages, ports, processes.
# Sourced, never run.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

# --- messages ----------------------------------------------------------------

say() { printf '%s\n' "$*"; }
note() { printf '==> %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# --- settings ----------------------------------------------------------------

# Takes the settings of a .env file over, but what the environment says wins.
load_env_file() {
    local line name value
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
        name=${BASH_REMATCH[2]}
        value=${BASH_REMATCH[3]%$'\r'}
        [[ -v $name ]] && continue
        if [[ $value =~ ^\"(.*)\"[[:space:]]*$ || $value =~ ^\'(.*)\'[[:space:]]*$ ]]; then
            value=${BASH_REMATCH[1]}
        else
            # A comment after the value, then blanks at its end, as docker compose reads it.
            value=${value%%[[:space:]]#*}
            value=${value%"${value##*[![:space:]]}"}
        fi
        export "$name=$value"
    done <"$1"
}

[[ -f $ROOT/.env ]] && load_env_file "$ROOT/.env"

LOCAL_DIR=$(realpath -m -- "${STRATA_LOCAL_DIR:-$ROOT/.local}")
LOG_DIR=$LOCAL_DIR/log
RUN_DIR=$LOCAL_DIR/run
# shellcheck disable=SC2034  # read by fleet.sh
TARGET_DIR=$(realpath -m -- "${CARGO_TARGET_DIR:-$ROOT/target}")
export STRATA_LOCAL_DIR="$LOCAL_DIR"

# Where rustup puts cargo; a shell that was open before does not know it yet.
CARGO_BIN=${CARGO_HOME:-${HOME-}/.cargo}/bin
if ! command -v cargo >/dev/null && [[ -x $CARGO_BIN/cargo ]]; then export PATH="$CARGO_BIN:$PATH"; fi

export POSTGRES_HOST="${POSTGRES_HOST:-localhost}"
export POSTGRES_PORT="${POSTGRES_PORT:-6432}"
export POSTGRES_USER="${POSTGRES_USER:-de}"
# Also from its file, then for these scripts alone: programs read the file themselves.
if [[ -n ${POSTGRES_PASSWORD_FILE-} ]]; then
    POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
else
    export POSTGRES_PASSWORD="${POSTGRES_PASSWORD:-engineer}"
fi
export POSTGRES_DB="${POSTGRES_DB:-dwh}"
export REDIS_HOST="${REDIS_HOST:-localhost}"
export REDIS_PORT="${REDIS_PORT:-6379}"
export KAFKA_PORT="${KAFKA_PORT:-29092}"
export KAFKA_CONTROLLER_PORT="${KAFKA_CONTROLLER_PORT:-29093}"
export DATA_SOURCE_PORT="${DATA_SOURCE_PORT:-5011}"
export STG_PORT="${STG_PORT:-5012}"
export DDS_PORT="${DDS_PORT:-5013}"
export CDM_PORT="${CDM_PORT:-5014}"
export CONSOLE_PORT="${CONSOLE_PORT:-5015}"

[[ -z ${REDIS_PASSWORD_FILE-} ]] || REDIS_PASSWORD=$(<"$REDIS_PASSWORD_FILE")

# Set empty means not set, as in a .env file made from the template.
for name in DATABASE_URL DATABASE_URL_FILE REDIS_URL REDIS_URL_FILE REDIS_PASSWORD KAFKA_BROKERS KAFKA_HOME; do
    [[ -n ${!name-} ]] || unset "$name"
done
unset name

is_local_host() { [[ $1 == localhost || $1 == 127.0.0.1 || $1 == ::1 ]]; }

# Names the variable by which the user gave a server of their own; prints
# nothing when the server is ours to run.
given_by() {
    case $1 in
    kafka)
        # export_service_env sets KAFKA_BROKERS for a Kafka of ours and leaves
        # this mark, so that a script started below it still knows whose it is.
        if [[ -n ${KAFKA_BROKERS-} && $KAFKA_BROKERS != "${STRATA_OWN_KAFKA-}" ]]; then
            echo KAFKA_BROKERS
        fi
        ;;
    postgres)
        if [[ -n ${DATABASE_URL-}${DATABASE_URL_FILE-} ]]; then
            echo DATABASE_URL
        elif ! is_local_host "$POSTGRES_HOST"; then
            echo POSTGRES_HOST
        fi
        ;;
    redis)
        if [[ -n ${REDIS_URL-}${REDIS_URL_FILE-} ]]; then
            echo REDIS_URL
        elif ! is_local_host "$REDIS_HOST"; then
            echo REDIS_HOST
        fi
        ;;
    esac
}

# What services and tests need beyond the settings above.
export_service_env() {
    if [[ -z $(given_by kafka) ]]; then
        export KAFKA_BROKERS="localhost:$KAFKA_PORT"
        export STRATA_OWN_KAFKA="$KAFKA_BROKERS"
    fi
}

# --- ports -------------------------------------------------------------------

# Somebody answers on this port of 127.0.0.1.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# need_port VARIABLE: dies when the port it names cannot be ours.
need_port() {
    local port=${!1}
    if ! [[ $port =~ ^[0-9]{1,5}$ ]] || ((port < 1 || port > 65535)); then
        die "$1=$port is not a port number"
    fi
    port_taken "$port" || return 0
    die "port $port is in use by another program; set $1 to a free port"
}

# free_port: prints a port that nobody holds, below the range from which the
# system takes ports for outgoing connections.
free_port() {
    local port tries
    for ((tries = 0; tries < 200; tries++)); do
        port=$((20000 + RANDOM % 12000))
        if ! port_taken "$port"; then echo "$port" && return; fi
    done
    die "found no free port"
}

# --- processes ---------------------------------------------------------------
# A process has a name, a pid file in .local/run and a mark: a text that its
# command line holds. A pid whose command line lacks the mark was given to
# another program since, so it is not ours to signal.

pid_is_ours() {
    local pid=$1 mark=$2
    [[ $pid =~ ^[0-9]+$ && -r /proc/$pid/cmdline ]] || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$mark"
}

# A process that is ending has lost its command line but still holds its ports;
# they are free once it is gone, or a zombie whose last thread has ended.
pid_is_gone() {
    local stat fields
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
    # Behind the name in brackets: the state, and as the 18th the number of threads.
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} == [ZX] ]] && ((fields[17] <= 1))
}

# await_end PID SECONDS
await_end() {
    local tries=$(($2 * 20))
    until pid_is_gone "$1"; do
        ((tries-- > 0)) || return 1
        sleep 0.05
    done
}

# await_ending NAME: lets the process of a pid file finish when it is just dying.
await_ending() {
    local pid
    pid=$(cat "$RUN_DIR/$1.pid" 2>/dev/null) || return 0
    [[ $pid =~ ^[0-9]+$ ]] || return 0
    [[ -n $(tr -d '\0' 2>/dev/null <"/proc/$pid/cmdline") ]] || await_end "$pid" 10 || true
}

# running_pid NAME MARK: prints the pid, fails when it is not running.
running_pid() {
    local pid
    pid=$(cat "$RUN_DIR/$1.pid" 2>/dev/null) || return 1
    pid_is_ours "$pid" "$2" || return 1
    echo "$pid"
}

# launch NAME LOG COMMAND...: starts a process that outlives this shell. The log
# of the run before is kept as LOG.log.1.
launch() {
    local name=$1 log=$LOG_DIR/$2.log
    shift 2
    mkdir -p "$LOG_DIR" "$RUN_DIR"
    if [[ -s $log ]]; then mv -f "$log" "$log.1"; fi
    # 9 is the lock of servers.sh: a server that inherited it would hold it forever.
    setsid nohup "$@" </dev/null >"$log" 2>&1 9>&- &
    echo $! >"$RUN_DIR/$name.pid"
}

# stop_process NAME MARK SIGNAL SECONDS: asks, waits, then kills.
stop_process() {
    local name=$1 mark=$2 signal=$3 seconds=$4 pid
    if ! pid=$(running_pid "$name" "$mark"); then
        rm -f "$RUN_DIR/$name.pid"
        say "$name is not running"
        return 0
    fi
    kill "-$signal" "$pid" 2>/dev/null || true
    if ! await_end "$pid" "$seconds"; then
        say "$name did not stop within $seconds s, killing it"
        kill -KILL "$pid" 2>/dev/null || true
        await_end "$pid" 10 || die "$name (pid $pid) cannot be killed"
    fi
    rm -f "$RUN_DIR/$name.pid"
    say "$name stopped"
}

# fail_with_log NAME MESSAGE: shows the end of the log, then dies.
fail_with_log() {
    printf -- '--- last lines of %s ---\n' "$LOG_DIR/$1.log" >&2
    tail -n 20 "$LOG_DIR/$1.log" >&2 || true
    die "$2"
}

# wait_ready NAME MARK SECONDS CHECK: until CHECK succeeds, the process ends or
# the time is over.
wait_ready() {
    local name=$1 mark=$2 tries=$(($3 * 10)) check=$4
    until "$check"; do
        running_pid "$name" "$mark" >/dev/null || fail_with_log "$name" "$name ended while starting"
        ((tries-- > 0)) || fail_with_log "$name" "$name did not answer within $3 s"
        sleep 0.1
    done
}
