#!/usr/bin/env bash
# The four services and the console as processes of this machine, from target/release.
#   scripts/fleet.sh start|stop|status|urls
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
export_service_env

SERVICES=(stg dds cdm data-source console)
START_SECONDS=30
STOP_SECONDS=12

# The console is the tool itself, serving.
binary_of() { echo "$TARGET_DIR/release/${1/#console/strata}"; }

port_variable() {
    local name=${1^^}_PORT
    echo "${name//-/_}"
}

port_of() {
    local variable
    variable=$(port_variable "$1")
    echo "${!variable}"
}

url_of() { echo "http://127.0.0.1:$(port_of "$1")"; }

# Two processes a service: NAME.pid is the service, NAME-supervisor.pid the loop
# that starts it again.
supervisor_mark() { echo "supervise.sh $RUN_DIR/$1.pid"; }
supervisor_pid() { running_pid "$1-supervisor" "$(supervisor_mark "$1")"; }
service_pid() { running_pid "$1" "$(binary_of "$1")"; }
# Also true of a service whose supervisor was killed.
alive() { supervisor_pid "$1" >/dev/null || service_pid "$1" >/dev/null; }

healthy() { curl -fs -m 2 -o /dev/null "$(url_of "$1")/health"; }

# A build since the start has replaced the file that the process runs.
outdated() {
    local pid
    pid=$(service_pid "$1") || return 1
    [[ $(readlink "/proc/$pid/exe") != "$(realpath "$(binary_of "$1")")" ]]
}

# Under its supervisor, on the port of the settings, from the newest build.
as_wanted() {
    supervisor_pid "$1" >/dev/null && ! outdated "$1" &&
        [[ $(cat "$RUN_DIR/$1.port" 2>/dev/null) == "$(port_of "$1")" ]]
}

migrate() {
    note "migrating the warehouse"
    "$(binary_of strata)" migrate || die "the migration failed"
}

# Fills START with the services to start; dies when one cannot be.
choose_services() {
    local service
    START=()
    for service in "${SERVICES[@]}"; do
        [[ -x $(binary_of "$service") ]] ||
            die "$(binary_of "$service") is missing; build it first: make build"
        if alive "$service"; then
            if as_wanted "$service"; then
                say "$service runs already"
                continue
            fi
            say "$service runs an older build, on another port or unsupervised: restarting it"
            stop_services "$service"
        fi
        need_port "$(port_variable "$service")"
        START+=("$service")
    done
}

await_health() {
    local service deadline=$((SECONDS + START_SECONDS))
    for service in "${SERVICES[@]}"; do
        until healthy "$service"; do
            ((SECONDS < deadline)) || fail_with_log "$service" \
                "$service is not healthy after $START_SECONDS s: $(url_of "$service")/health"
            sleep 0.1
        done
    done
}

start() {
    local service
    mkdir -p "$LOG_DIR" "$RUN_DIR"
    choose_services
    # A running fleet has migrated already, and its tables are in use.
    ((${#START[@]} == 0)) || migrate
    for service in "${START[@]}"; do
        port_of "$service" >"$RUN_DIR/$service.port"
        launch "$service-supervisor" "$service" \
            "$ROOT/scripts/supervise.sh" "$RUN_DIR/$service.pid" "$(binary_of "$service")" serve
    done
    await_health
    note "the fleet is healthy"
}

# All are asked first, so that they drain side by side. The supervisor passes
# the signal on and ends with its service.
stop_services() {
    local service pid deadline=$((SECONDS + STOP_SECONDS))
    for service in "$@"; do
        if pid=$(supervisor_pid "$service" || service_pid "$service"); then
            kill -TERM "$pid" 2>/dev/null || true
        fi
    done
    for service in "$@"; do
        while alive "$service" && ((SECONDS < deadline)); do sleep 0.1; done
        if alive "$service"; then
            say "$service did not stop within $STOP_SECONDS s, killing it"
            # The supervisor first, else it would start its service again.
            if pid=$(supervisor_pid "$service"); then kill -KILL "$pid" 2>/dev/null || true; fi
            if pid=$(service_pid "$service"); then kill -KILL "$pid" 2>/dev/null || true; fi
        fi
        rm -f "$RUN_DIR/$service.pid" "$RUN_DIR/$service-supervisor.pid"
        say "$service stopped"
    done
}

stop() { stop_services "${SERVICES[@]}"; }

status() {
    local service pid state result=0
    for service in "${SERVICES[@]}"; do
        if ! supervisor_pid "$service" >/dev/null; then
            state=stopped
            result=1
        elif healthy "$service"; then
            state=healthy
        else
            state=unhealthy
            result=1
        fi
        pid=$(service_pid "$service") || pid=-
        printf '%-12s %-10s pid %-8s %s\n' "$service" "$state" "$pid" "$(url_of "$service")"
    done
    return "$result"
}

# A URL given by the user may hold a password, which is not for the screen.
postgres_url() {
    if [[ -n ${DATABASE_URL-} ]]; then
        echo "the one in DATABASE_URL"
    else
        echo "postgres://$POSTGRES_USER@$POSTGRES_HOST:$POSTGRES_PORT/$POSTGRES_DB"
    fi
}

redis_url() {
    if [[ -n ${REDIS_URL-} ]]; then
        echo "the one in REDIS_URL"
    else
        echo "redis://$REDIS_HOST:$REDIS_PORT"
    fi
}

urls() {
    local push
    push="$(url_of data-source)/push"
    cat <<END

The fleet is up:
  data-source  $(url_of data-source)   POST /push, /ingest
  stg          $(url_of stg)   GET /health, /metrics
  dds          $(url_of dds)   GET /health, /metrics
  cdm          $(url_of cdm)   GET /users, /hotels, /counters/...
  console      $(url_of console)   the dashboard, for a browser
  Postgres     $(postgres_url)
  Redis        $(redis_url)
  Kafka        $KAFKA_BROKERS

The dashboard:  $(url_of console)/

Go on:
  curl -H 'content-type: application/json' -d '{"N": 1000}' $push
  curl $(url_of cdm)/users?limit=5
  scripts/with_env.sh $(binary_of strata) status      (watch, push, reconcile, dlq, rebuild)
  logs are in $LOG_DIR; make down stops everything and keeps the data
END
}

case ${1-} in
start | stop | status | urls) "$1" ;;
*)
    echo "usage: scripts/fleet.sh start|stop|status|urls" >&2
    exit 2
    ;;
esac
