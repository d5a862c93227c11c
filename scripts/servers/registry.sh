# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153  # servers.sh reads what is set here; lib.sh sets what is read
# A schema registry: Apicurio with the REST API of Confluent's, in memory, in .local/registry. Only started by its name.
# Sourced by servers.sh, after kafka.sh, whose Java and Maven it uses.

REGISTRY_DIR=$LOCAL_DIR/registry
REGISTRY_VERSION=2.6.13.Final
REGISTRY_PORT=${REGISTRY_PORT:-8083}
REGISTRY_PORT_VARIABLES=(REGISTRY_PORT)
# In its command line, beside the port that tells it from others.
REGISTRY_MARK="-Dquarkus.http.port=$REGISTRY_PORT"

# REGISTRY_HOME: an unpacked application that is there already.
registry_home() { echo "${REGISTRY_HOME:-$REGISTRY_DIR/app}"; }

registry_present() { [[ -f $(registry_home)/.complete-$REGISTRY_VERSION ]]; }

registry_install() {
    local name=apicurio-registry-app new=$REGISTRY_DIR/app.new
    kafka_install_java
    registry_present && return
    [[ -z ${REGISTRY_HOME-} ]] || die "REGISTRY_HOME=$REGISTRY_HOME holds no Apicurio Registry $REGISTRY_VERSION"
    command -v mvn >/dev/null || install_packages Maven maven
    note "resolving Apicurio Registry with Maven"
    rm -rf "$new"
    mkdir -p "$new"
    mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        -Dartifact="io.apicurio:$name:$REGISTRY_VERSION:tar.gz:all" -DoutputDirectory="$new" \
        >"$LOG_DIR/maven-registry.log" 2>&1 ||
        fail_with_log maven-registry "Maven could not resolve Apicurio Registry; set REGISTRY_HOME to do without"
    tar -xzf "$new/$name-$REGISTRY_VERSION-all.tar.gz" -C "$new"
    rm "$new/$name-$REGISTRY_VERSION-all.tar.gz"
    touch "$new/.complete-$REGISTRY_VERSION"
    rm -rf "$REGISTRY_DIR/app"
    mv "$new" "$REGISTRY_DIR/app"
}

registry_start() {
    mkdir -p "$REGISTRY_DIR"
    registry_install
    local options=()
    # More of them, for tests of secure connections.
    if [[ -f $REGISTRY_DIR/java.options ]]; then mapfile -t options <"$REGISTRY_DIR/java.options"; fi
    launch registry registry "$(java_command)" -Xms64m -Xmx256m -XX:+UseSerialGC \
        -Dquarkus.http.host=127.0.0.1 "$REGISTRY_MARK" "${options[@]}" \
        -jar "$(registry_home)/apicurio-registry-app-$REGISTRY_VERSION-runner.jar"
}

# registry_config METHOD ARGUMENT...
registry_config() {
    curl -fsS -o /dev/null -X "$1" "${@:2}" "http://127.0.0.1:$REGISTRY_PORT/apis/ccompat/v7/config"
}

registry_answers() { registry_config GET 2>/dev/null; }

# Unlike Confluent's it compares nothing unless it is told to.
registry_wait() {
    wait_ready registry "$REGISTRY_MARK" 90 registry_answers
    registry_config PUT -H 'Content-Type: application/json' -d '{"compatibility": "BACKWARD"}'
}

registry_stop() { stop_process registry "$REGISTRY_MARK" TERM 20; }

# The application stays, like Kafka's jars; the schemas were in memory.
registry_clean() { :; }

registry_address() { echo "http://localhost:$1/apis/ccompat/v7"; }
