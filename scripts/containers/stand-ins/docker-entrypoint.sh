#!/bin/sh
# Does for Debian's servers what the entrypoints of the official images do.
set -eu

drop() { user=$1 && shift && exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"; }

case $1 in
    postgres)
        data=/var/lib/postgresql/data
        PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
        if [ ! -s "$data/PG_VERSION" ]; then
            chown postgres:postgres "$data"
            printf %s "$POSTGRES_PASSWORD" >/tmp/password
            # shellcheck disable=SC2086  # several arguments
            (drop postgres initdb -D "$data" -U "$POSTGRES_USER" --pwfile=/tmp/password $POSTGRES_INITDB_ARGS)
            echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
            echo "create database $POSTGRES_DB" | (drop postgres postgres --single -D "$data" postgres)
        fi
        drop postgres "$@" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
        ;;
    redis-server)
        chown redis:redis /data
        drop redis "$@" --dir /data --bind 0.0.0.0 --protected-mode no
        ;;
    kafka)
        env | sed -n 's/^KAFKA_//p' | grep -v ^HEAP_OPTS= | while IFS='=' read -r name value; do
            echo "$(echo "$name" | tr 'A-Z_' 'a-z.')=$value"
        done >/tmp/server.properties
        java -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --ignore-formatted -t "$CLUSTER_ID" -c /tmp/server.properties
        # shellcheck disable=SC2086  # several arguments
        exec java $KAFKA_HEAP_OPTS -cp '/opt/kafka/libs/*' kafka.Kafka /tmp/server.properties
        ;;
esac
