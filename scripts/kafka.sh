#!/usr/bin/env bash
# Kafka's command line tools on the Kafka of the settings:
#   scripts/kafka.sh topics --list
#   scripts/kafka.sh groups --all-groups --describe
#   scripts/kafka.sh consume --topic cdm_topic --from-beginning
#   scripts/kafka.sh produce --topic stg_topic
#   scripts/kafka.sh configs --entity-type topics --entity-name stg_topic --describe
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/servers/packages.sh
. "$ROOT/scripts/servers/packages.sh"
# shellcheck source=scripts/servers/kafka.sh
. "$ROOT/scripts/servers/kafka.sh"

tools=org.apache.kafka.tools
case ${1-} in
topics) class=$tools.TopicCommand ;;
groups) class=$tools.consumer.group.ConsumerGroupCommand ;;
consume) class=$tools.consumer.ConsoleConsumer ;;
produce) class=$tools.ConsoleProducer ;;
configs) class=kafka.admin.ConfigCommand ;;
*)
    sed -n 's/^# \?//;2,7p' "$0" >&2
    exit 2
    ;;
esac
shift
kafka_install
export_service_env
kafka_java "$class" --bootstrap-server "$KAFKA_BROKERS" "$@"
