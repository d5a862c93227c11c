# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153  # servers.sh reads what is set here; lib.sh sets what is read
# Kafka: one KRaft node, broker and controller in one, in .local/kafka; one of several where brokers.sh sets
# KAFKA_NODE, KAFKA_VOTERS and KAFKA_CLUSTER_ID.
# Sourced by servers.sh and kafka.sh.

KAFKA_DIR=$LOCAL_DIR/kafka
KAFKA_MARK=$KAFKA_DIR/server.properties
KAFKA_POM=$ROOT/scripts/kafka/pom.xml
KAFKA_PORT_VARIABLES=(KAFKA_PORT KAFKA_CONTROLLER_PORT)

java_command() { echo "${JAVA_HOME:+$JAVA_HOME/bin/}java"; }

java_version() {
    "$(java_command)" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1
}

kafka_install_java() {
    local version
    version=$(java_version) || version=''
    [[ -n $version ]] && ((version >= 17)) && return
    [[ -z ${JAVA_HOME-} ]] || die "Kafka needs Java 17 or newer, JAVA_HOME holds ${version:-none}"
    # Other releases of the distribution carry another Java, newer ones a newer.
    if package_known openjdk-17-jre-headless; then
        install_packages "Java 17" openjdk-17-jre-headless
    else
        install_packages Java default-jre-headless
    fi
    version=$(java_version)
    ((version >= 17)) || die "Kafka needs Java 17 or newer, installed is Java $version; set JAVA_HOME"
}

kafka_libs() { echo "${KAFKA_HOME:-$KAFKA_DIR}/libs"; }

# Complete jars carry the sum of the file that they were resolved from.
kafka_jars_present() {
    [[ $(cat "$KAFKA_DIR/libs/.resolved" 2>/dev/null) == "$(cksum <"$KAFKA_POM")" ]]
}

kafka_resolve_jars() {
    local new=$KAFKA_DIR/libs.new try
    command -v mvn >/dev/null || install_packages Maven maven
    note "resolving Kafka's jars with Maven"
    for try in 1 2 3; do
        rm -rf "$new"
        if mvn -B -q -f "$KAFKA_POM" dependency:copy-dependencies -DoutputDirectory="$new" \
            >"$LOG_DIR/maven.log" 2>&1; then
            cksum <"$KAFKA_POM" >"$new/.resolved"
            rm -rf "$KAFKA_DIR/libs"
            mv "$new" "$KAFKA_DIR/libs"
            return
        fi
        say "Maven failed (attempt $try of 3)"
        sleep 2
    done
    fail_with_log maven "Maven could not resolve Kafka's jars; set KAFKA_HOME to an unpacked Kafka to do without"
}

kafka_install() {
    mkdir -p "$KAFKA_DIR" "$LOG_DIR"
    kafka_install_java
    if [[ -n ${KAFKA_HOME-} ]]; then
        compgen -G "$KAFKA_HOME/libs/kafka_2.13-*.jar" >/dev/null ||
            die "KAFKA_HOME=$KAFKA_HOME holds no libs/kafka_2.13-*.jar"
    elif ! kafka_jars_present; then
        kafka_resolve_jars
    fi
}

# kafka_java CLASS ARGUMENT...: runs a class of Kafka's jars, which ends before compiling it well pays.
kafka_java() {
    "$(java_command)" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$(kafka_libs)/*" \
        -Dlog4j2.configurationFile="$ROOT/scripts/kafka/log4j2.properties" "$@"
}

kafka_write_config() {
    local voters=${KAFKA_VOTERS:-1@127.0.0.1:$KAFKA_CONTROLLER_PORT} replicas=1 in_sync=1
    if [[ $voters == *,* ]]; then
        replicas=3
        in_sync=2
    fi
    cat >"$KAFKA_DIR/server.properties" <<END
# Written at every start by scripts/servers.sh.
process.roles=broker,controller
node.id=${KAFKA_NODE:-1}
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT
# A number, not localhost: clients would try its IPv6 address first, in vain.
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$KAFKA_DIR/data
# The fleet creates its topics itself; a misspelt name must not make one.
auto.create.topics.enable=false
num.partitions=6
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
# Groups form without delay.
group.initial.rebalance.delay.ms=0
# A killed broker may register again only when its former session has expired.
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
group.min.session.timeout.ms=1000
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=4
END
    # More listeners, for tests of secure connections.
    if [[ -f $KAFKA_DIR/extra.properties ]]; then
        cat "$KAFKA_DIR/extra.properties" >>"$KAFKA_DIR/server.properties"
    fi
}

kafka_format() {
    [[ -f $KAFKA_DIR/data/meta.properties ]] && return
    note "formatting Kafka's storage in $KAFKA_DIR/data"
    local id
    rm -rf "$KAFKA_DIR/data"
    id=${KAFKA_CLUSTER_ID:-$(kafka_java kafka.tools.StorageTool random-uuid)}
    kafka_java kafka.tools.StorageTool format -t "$id" -c "$KAFKA_DIR/server.properties" \
        >"$LOG_DIR/kafka-format.log" 2>&1 ||
        fail_with_log kafka-format "Kafka's storage could not be formatted"
}

kafka_start() {
    kafka_install
    kafka_write_config
    kafka_format
    local heap
    read -ra heap <<<"${KAFKA_HEAP_OPTS:--Xms256m -Xmx512m}"
    launch kafka kafka "$(java_command)" "${heap[@]}" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
        -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true \
        -Dlog4j2.configurationFile="$ROOT/scripts/kafka/log4j2.properties" \
        -cp "$(kafka_libs)/*" kafka.Kafka "$KAFKA_DIR/server.properties"
}

kafka_answers() {
    port_taken "$KAFKA_PORT" && grep -q 'Kafka Server started' "$LOG_DIR/kafka.log"
}

kafka_wait() { wait_ready kafka "$KAFKA_MARK" 90 kafka_answers; }

kafka_stop() { stop_process kafka "$KAFKA_MARK" TERM 30; }

# The jars stay: they are no data, and take a download to come back.
kafka_clean() { rm -rf "$KAFKA_DIR/data" "$KAFKA_DIR/server.properties"; }

kafka_address() { echo "localhost:$1"; }
