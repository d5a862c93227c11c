#!/usr/bin/env bash
# Three Kafka brokers instead of the one of scripts/servers.sh, each broker and
# controller in one, in .local/broker-1 to broker-3.
#   scripts/brokers.sh start|stop|status|clean [1|2|3]...
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"
# shellcheck source=scripts/servers/kafka.sh
. "$ROOT/scripts/servers/kafka.sh"

# Ports of the three: of clients, and among the controllers.
read -ra ports <<<"${BROKER_PORTS:-$KAFKA_PORT $((KAFKA_PORT + 10)) $((KAFKA_PORT + 20))}"
read -ra controllers <<<"${BROKER_CONTROLLER_PORTS:-$KAFKA_CONTROLLER_PORT $((KAFKA_CONTROLLER_PORT + 10)) $((KAFKA_CONTROLLER_PORT + 20))}"

# broker COMMAND NUMBER
broker() {
    STRATA_LOCAL_DIR=$LOCAL_DIR/broker-$2 KAFKA_BROKERS='' KAFKA_NODE=$2 \
        KAFKA_PORT=${ports[$2 - 1]} KAFKA_CONTROLLER_PORT=${controllers[$2 - 1]} \
        "$ROOT/scripts/servers.sh" "$1" kafka
}

main() {
    local command=${1-} number running=() status=0
    case $command in
    start | stop | status | clean) shift ;;
    *) sed -n 's/^# \?//;2,4p' "$0" >&2 && return 2 ;;
    esac
    (($# > 0)) || set -- 1 2 3
    # Nothing to do where they never ran.
    [[ $command == start || -d $LOCAL_DIR/broker-1 ]] || return 0
    [[ $command != start ]] || kafka_install
    export KAFKA_HOME=${KAFKA_HOME:-$KAFKA_DIR}
    export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xms256m -Xmx256m}
    # All storages of one cluster carry its id: sixteen bytes as base64.
    export KAFKA_CLUSTER_ID=c3RyYXRhLWJyb2tlcnMtMw
    export KAFKA_VOTERS=1@127.0.0.1:${controllers[0]},2@127.0.0.1:${controllers[1]},3@127.0.0.1:${controllers[2]}
    # Side by side: none of them is ready before most of the controllers are.
    for number in "$@"; do
        [[ $number =~ ^[123]$ ]] || die "no such broker: $number (1, 2 or 3)"
        broker "$command" "$number" &
        running+=($!)
    done
    for number in "${running[@]}"; do wait "$number" || status=1; done
    return "$status"
}

main "$@"
