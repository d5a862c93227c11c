#!/usr/bin/env bash
# The fleet in containers, as docker-compose.yml starts it: events through all layers, more instances, kills under load, a
# rolling restart, a restart with its data; every layer must agree each time. Takes the images of make images, a project and ports of its own.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/kafka.sh
. "$ROOT/scripts/servers/kafka.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"

export COMPOSE_PROJECT_NAME=strata-test COMPOSE_PROFILES='' TAG=${TAG:-latest}
export DATA_SOURCE_PORT=25011 STG_PORT=25012 DDS_PORT=25013 CDM_PORT=25014 CONSOLE_PORT=25015
export KAFKA_PORT=39092 POSTGRES_PORT=26432 REDIS_PORT=26379
# Servers in containers, whatever the environment names.
unset POSTGRES_HOST REDIS_HOST KAFKA_BROKERS DATABASE_URL REDIS_URL

# Of each stream: at first, under kills, and during the rolling restart, so many a second.
EVENTS=${EVENTS:-10000}
RATE=${RATE:-700}

FILES=(-f "$ROOT/docker-compose.yml")
compose() { docker compose "${FILES[@]}" "$@"; }
up() { compose up -d --wait --no-build --quiet-pull "$@"; }
strata() { compose run --rm -T strata "$@"; }

# The servers' images by name, else of the distribution.
choose_images() {
    local image
    for image in $(compose config --images | grep -v ^strata- | sort -u); do
        docker image inspect "$image" >/dev/null 2>&1 || docker pull -q "$image" >/dev/null 2>&1 || break
        image=''
    done
    [[ -n $image ]] || return 0
    note "no registry answers: Debian's servers in the place of the official images"
    if ! docker image inspect strata-stand-ins >/dev/null 2>&1; then
        kafka_install
        local context=$LOCAL_DIR/images/stand-ins
        rm -rf "$context" && mkdir -p "$context"
        cp "$ROOT"/scripts/containers/stand-ins/{Dockerfile,docker-entrypoint.sh} "$context"
        cp -r "$(kafka_libs)" "$context/libs"
        DOCKER_BUILDKIT=1 docker build --progress plain --network host -t strata-stand-ins "$context"
    fi
    FILES+=(-f "$ROOT/scripts/containers/stand-ins/compose.yml")
}

# kill_container SERVICE: as the kernel does that is short of memory; docker kill would count as a wish to stop it.
kill_container() {
    kill -9 "$(docker inspect -f '{{.State.Pid}}' "$(compose ps -q "$1" | head -n 1)")"
}

# Events in the background.
push_beside() {
    strata push "order=$((2 * EVENTS))" "hotel_search=$((2 * EVENTS))" --rate "$RATE" --wait >"$LOG_DIR/push.log" 2>&1 &
    pushing=$!
}

expect_pushed() { wait "$pushing" || fail_with_log push "the push did not end well"; }

expect_agreement() {
    strata reconcile | tail -n 1 | tee "$LOG_DIR/reconcile.log"
    grep -q '^all layers agree' "$LOG_DIR/reconcile.log" || die "the layers differ $1"
}

mkdir -p "$LOG_DIR"
choose_images
trap 'compose down --volumes --remove-orphans >/dev/null 2>&1' EXIT
note "starting"
SECONDS=0
up
say "  $SECONDS s"
note "$EVENTS of each stream"
strata push "order=$EVENTS" "hotel_search=$EVENTS" --wait
expect_agreement "after the first events"
note "two instances of stg"
up --scale stg=2
(($(compose ps -q stg | wc -l) == 2)) || die "stg has not two instances"
curl -fsS "http://127.0.0.1:$STG_PORT/health" >/dev/null || die "the port of stg does not answer"
note "kills under load"
push_beside
for victim in stg dds cdm data-source kafka postgres; do
    sleep 2
    kill_container "$victim"
done
expect_pushed
up --scale stg=2
expect_agreement "after the kills"
note "a rolling restart of three instances of each stage under load"
up --scale stg=3 --scale dds=3 --scale cdm=3
push_beside
for container in $(compose ps -q stg dds cdm); do
    docker restart -t 15 "$container" >/dev/null
    for ((seconds = 0; seconds < 60; seconds++)); do
        [[ $(docker inspect -f '{{.State.Health.Status}}' "$container") == healthy ]] && break
        sleep 1
    done
done
expect_pushed
expect_agreement "after the rolling restart"
note "a restart with its data"
compose down
up
expect_agreement "after the restart"
strata status --json >"$LOG_DIR/status.json"
(($(grep -c "\"rows\": $((5 * EVENTS))," "$LOG_DIR/status.json") >= 2)) || die "the data did not outlast the restart"
note "all of it holds"
