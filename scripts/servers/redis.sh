# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153  # servers.sh reads what is set here; lib.sh sets what is read
# Redis: an instance of our own in .local/redis. Sourced by servers.sh.

REDIS_DIR=$LOCAL_DIR/redis
REDIS_MARK=$REDIS_DIR/redis.conf
REDIS_PORT_VARIABLES=(REDIS_PORT)

redis_install() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null && return
    install_packages Redis redis-server
    disable_service redis-server
}

# In quotes, as the file of settings reads them.
redis_password_setting() {
    local password=${REDIS_PASSWORD-}
    password=${password//\\/\\\\}
    [[ -z $password ]] || echo "requirepass \"${password//\"/\\\"}\""
}

redis_write_config() {
    mkdir -p "$REDIS_DIR/data"
    (umask 077 && : >"$REDIS_DIR/redis.conf")
    cat >"$REDIS_DIR/redis.conf" <<END
bind 127.0.0.1
port $REDIS_PORT
dir "$REDIS_DIR/data"
daemonize no
# The append-only file is the only persistence; at most its last second is lost,
# and the offsets kept in the same file go back with it.
appendonly yes
appendfsync everysec
save ""
$(redis_password_setting)
maxmemory-policy noeviction
# The command line is how servers.sh recognises its own process.
set-proc-title no
END
}

redis_start() {
    redis_install
    redis_write_config
    launch redis redis redis-server "$REDIS_DIR/redis.conf"
}

redis_answers() { [[ $(REDISCLI_AUTH=${REDIS_PASSWORD-} redis-cli -h 127.0.0.1 -p "$REDIS_PORT" ping 2>/dev/null) == PONG ]]; }

redis_wait() { wait_ready redis "$REDIS_MARK" 60 redis_answers; }

redis_stop() { stop_process redis "$REDIS_MARK" TERM 20; }

redis_backup() {
    rm -rf "$1"
    mkdir -p "$1"
    local server=(-h 127.0.0.1 -p "$REDIS_PORT")
    if [[ -n ${REDIS_URL-} ]]; then server=(-u "$REDIS_URL"); fi
    # Empty, it would be sent as a password.
    if [[ -n ${REDIS_PASSWORD-} ]]; then local -x REDISCLI_AUTH=$REDIS_PASSWORD; fi
    redis-cli "${server[@]}" --rdb "$1/dump.rdb" \
        >"$LOG_DIR/redis-backup.log" 2>&1 || fail_with_log redis-backup "Redis cannot be copied"
}

# Redis reads its append-only file and nothing else; that may begin with a copy of this form.
redis_restore() {
    local new=$REDIS_DIR/data.new
    rm -rf "$new" "$REDIS_DIR/data.before"
    mkdir -p "$new/appendonlydir"
    cp "$1/dump.rdb" "$new/appendonlydir/appendonly.aof.1.base.rdb"
    echo "file appendonly.aof.1.base.rdb seq 1 type b" >"$new/appendonlydir/appendonly.aof.manifest"
    [[ ! -d $REDIS_DIR/data ]] || mv "$REDIS_DIR/data" "$REDIS_DIR/data.before"
    mv "$new" "$REDIS_DIR/data"
}

redis_clean() { rm -rf "$REDIS_DIR"; }

redis_address() { echo "redis://localhost:$1"; }
