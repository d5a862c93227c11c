# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153  # servers.sh reads what is set here; lib.sh sets what is read
# Postgres: a cluster of our own in .local/postgres. Sourced by servers.sh.

POSTGRES_DIR=$LOCAL_DIR/postgres
POSTGRES_DATA=$POSTGRES_DIR/data
POSTGRES_MARK="-D $POSTGRES_DATA"
POSTGRES_PORT_VARIABLES=(POSTGRES_PORT)

# The newest of the distribution's versions, else what the PATH offers.
postgres_find() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
    if [[ -x $newest ]]; then
        PG_BIN=$(dirname -- "$newest")
    elif command -v postgres initdb psql pg_isready >/dev/null; then
        PG_BIN=$(dirname -- "$(command -v postgres)")
    else
        return 1
    fi
}

postgres_install() {
    postgres_find && return
    install_packages Postgres postgresql
    disable_service postgresql
    postgres_find || die "Postgres was installed but is not in /usr/lib/postgresql"
}

# Postgres refuses to run as root. So root runs it as the system user postgres,
# or, where that user cannot reach the directory (a clone below /root), in a user
# namespace in which root carries another number. The owner of existing data
# says which of the two made it. Sets PG_AS, a prefix to commands.
postgres_choose_user() {
    local as_user=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    local as_number=(unshare --map-user=1000 --)
    PG_AS=() PG_OWNER=''
    ((EUID == 0)) || return 0
    mkdir -p "$POSTGRES_DIR"
    if [[ -d $POSTGRES_DATA ]]; then
        if [[ $(stat -c %u "$POSTGRES_DATA") != 0 ]]; then
            PG_AS=("${as_user[@]}")
        else
            PG_AS=("${as_number[@]}")
        fi
        return
    fi
    # Reach and rights are tried out on the directory itself.
    if id postgres >/dev/null 2>&1 && chown postgres: "$POSTGRES_DIR" 2>/dev/null &&
        "${as_user[@]}" test -w "$POSTGRES_DIR" 2>/dev/null; then
        PG_AS=("${as_user[@]}") PG_OWNER=postgres
    elif chown 0:0 "$POSTGRES_DIR" && "${as_number[@]}" test -w "$POSTGRES_DIR" 2>/dev/null; then
        PG_AS=("${as_number[@]}")
    else
        die "Postgres does not run as root, and the user postgres cannot reach $POSTGRES_DIR;" \
            "set STRATA_LOCAL_DIR to a directory that every user can enter"
    fi
}

# In the directory of the cluster, because the caller's may be closed to that user.
pg_run() { (cd "$POSTGRES_DIR" && "${PG_AS[@]}" "$@"); }

# The cluster is made beside its place and moved there when it is complete, so
# that an interrupted start leaves nothing half made.
postgres_init() {
    [[ -f $POSTGRES_DATA/PG_VERSION ]] && return
    local new=$POSTGRES_DIR/data.new password=$POSTGRES_DIR/password
    note "creating a Postgres cluster in $POSTGRES_DATA"
    chmod 700 "$POSTGRES_DIR"
    rm -rf "$new" "$POSTGRES_DATA"
    (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >"$password")
    [[ -z $PG_OWNER ]] || chown "$PG_OWNER:" "$password"
    pg_run "$PG_BIN/initdb" --pgdata="$new" --username="$POSTGRES_USER" --pwfile="$password" \
        --auth-host=scram-sha-256 --auth-local=trust --encoding=UTF8 --locale=C.UTF-8 \
        --no-instructions >"$LOG_DIR/postgres-initdb.log" 2>&1 || {
        cat "$LOG_DIR/postgres-initdb.log" >&2
        die "initdb failed"
    }
    rm -f "$password"
    echo "include 'strata.conf'" >>"$new/postgresql.conf"
    : >"$new/strata.conf"
    mv "$new" "$POSTGRES_DATA"
}

# A build may lack lz4 or the contrib library; then the setting is left out.
postgres_optional_settings() {
    if pg_run "$PG_BIN/postgres" -D "$POSTGRES_DATA" -c wal_compression=lz4 -C wal_compression \
        >/dev/null 2>&1; then
        echo "wal_compression = lz4"
    fi
    local libraries
    libraries=$("$PG_BIN/pg_config" --pkglibdir 2>/dev/null) || libraries=$PG_BIN/../lib
    if [[ -f $libraries/pg_stat_statements.so ]]; then
        echo "shared_preload_libraries = 'pg_stat_statements'"
    fi
}

# A socket's path must fit into 107 bytes, name of the socket file included.
postgres_socket_directory() {
    local socket=$POSTGRES_DIR/.s.PGSQL.$POSTGRES_PORT.lock
    if (($(printf %s "$socket" | wc -c) <= 107)); then echo "$POSTGRES_DIR"; fi
}

# A quarter of the memory, 4 GB at most: keys are hashes, so every page of an index
# that does not fit is read, and written back, for each row or so.
postgres_shared_buffers() {
    local megabytes
    megabytes=$(awk '/^MemTotal:/ { print int($2 / 4096) }' /proc/meminfo 2>/dev/null) || true
    megabytes=${megabytes:-512}
    echo "$((megabytes < 128 ? 128 : megabytes > 4096 ? 4096 : megabytes))MB"
}

postgres_write_config() {
    : >"$POSTGRES_DATA/strata.conf"
    local optional
    optional=$(postgres_optional_settings)
    cat >"$POSTGRES_DATA/strata.conf" <<END
# Written at every start by scripts/servers.sh.
listen_addresses = '127.0.0.1'
port = $POSTGRES_PORT
unix_socket_directories = '$(postgres_socket_directory)'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = $(postgres_shared_buffers)
# Bulk loads: checkpoints by time rather than by volume. After each of them every
# page goes into the WAL as a whole once more.
max_wal_size = 8GB
checkpoint_timeout = 30min
$optional
END
}

# Backends outlive a killed postmaster for a moment, and a second one beside
# them would ruin the data. Every process of a cluster works in its directory.
postgres_await_orphans() {
    local tries=100
    while [[ -n $(pg_run find /proc -maxdepth 2 -path '/proc/[0-9]*/cwd' \
        -lname "$POSTGRES_DATA" 2>/dev/null) ]]; do
        ((tries-- > 0)) || die "processes of a former Postgres still work in $POSTGRES_DATA"
        sleep 0.1
    done
}

# The lock files name the pid of the former postmaster. When that pid belongs to
# another program by now, or is a zombie, Postgres takes it for a running server.
postgres_drop_stale_locks() {
    local lock pid
    postgres_await_orphans
    for lock in "$POSTGRES_DATA/postmaster.pid" "$POSTGRES_DIR"/.s.PGSQL.*.lock; do
        pid=$(head -n 1 "$lock" 2>/dev/null) || continue
        pid_is_ours "$pid" "$POSTGRES_MARK" || rm -f "$lock"
    done
}

postgres_launch() {
    (cd "$POSTGRES_DIR" && launch postgres postgres "${PG_AS[@]}" "$PG_BIN/postgres" -D "$POSTGRES_DATA")
}

postgres_start() {
    postgres_install
    mkdir -p "$LOG_DIR" "$POSTGRES_DIR"
    postgres_choose_user
    postgres_init
    local version
    version=$(cat "$POSTGRES_DATA/PG_VERSION")
    "$PG_BIN/postgres" --version | grep -q " $version\b" ||
        die "the data in $POSTGRES_DATA are of Postgres $version, installed is" \
            "$("$PG_BIN/postgres" --version); scripts/servers.sh clean postgres removes them"
    postgres_write_config
    postgres_drop_stale_locks
    postgres_launch
}

postgres_sql() {
    PGPASSWORD=$POSTGRES_PASSWORD PGCONNECT_TIMEOUT=5 "$PG_BIN/psql" -h 127.0.0.1 -p "$POSTGRES_PORT" \
        -U "$POSTGRES_USER" -d "$1" -X -q -At -v ON_ERROR_STOP=1 -v database="$POSTGRES_DB"
}

postgres_answers() { "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$POSTGRES_PORT"; }

postgres_wait() {
    postgres_find || die "the Postgres that runs is no longer installed"
    wait_ready postgres "$POSTGRES_MARK" 60 postgres_answers
    local exists
    exists=$(postgres_sql postgres <<<"select 1 from pg_database where datname = :'database'") ||
        die "Postgres refuses $POSTGRES_USER; the cluster was made with another POSTGRES_USER or" \
            "POSTGRES_PASSWORD (scripts/servers.sh clean postgres removes it with its data)"
    [[ -n $exists ]] || postgres_sql postgres <<<'create database :"database"'
}

# INT is the fast shutdown: it does not wait for clients to leave.
postgres_stop() { stop_process postgres "$POSTGRES_MARK" INT 60; }

# The URL of the server, as clients are told it. The role needs REPLICATION.
postgres_backup() {
    postgres_find || die "pg_basebackup is of Postgres' server package"
    local url=${DATABASE_URL:-postgres://$POSTGRES_USER:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_PORT/$POSTGRES_DB}
    rm -rf "$1"
    "$PG_BIN/pg_basebackup" --dbname="$url" --pgdata="$1" --checkpoint=fast --wal-method=stream \
        2>"$LOG_DIR/postgres-backup.log" || fail_with_log postgres-backup "Postgres cannot be copied"
}

# The data so far are kept until the next restore. They say who runs Postgres here, so they move last.
postgres_restore() {
    postgres_install
    postgres_choose_user
    local new=$POSTGRES_DIR/data.new owner=${PG_OWNER:-0}:
    mkdir -p "$POSTGRES_DIR"
    if [[ -d $POSTGRES_DATA ]]; then owner=$(stat -c %u:%g "$POSTGRES_DATA"); fi
    rm -rf "$new" "$POSTGRES_DIR/data.before"
    cp -a "$1" "$new"
    chmod 700 "$new"
    if ((EUID == 0)); then chown -R "$owner" "$new"; fi
    [[ ! -d $POSTGRES_DATA ]] || mv "$POSTGRES_DATA" "$POSTGRES_DIR/data.before"
    mv "$new" "$POSTGRES_DATA"
}

postgres_clean() { rm -rf "$POSTGRES_DIR"; }

postgres_address() { echo "postgres://$POSTGRES_USER@localhost:$1/$POSTGRES_DB"; }
