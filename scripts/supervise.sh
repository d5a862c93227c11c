#!/usr/bin/env bash
# Keeps one service running; started by fleet.sh.
#   scripts/supervise.sh PID_FILE COMMAND...
# A command that fails or is killed is started again after a second; one that
# ends with success, or was asked to end, is not.
set -uo pipefail

pid_file=$1
shift
child=''
asked=''

stop() {
    asked=yes
    [[ -z $child ]] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

# wait returns early when the signal arrives, so it is asked until the child is gone.
await_child() {
    local status
    while :; do
        wait "$child"
        status=$?
        kill -0 "$child" 2>/dev/null || return "$status"
    done
}

while [[ -z $asked ]]; do
    "$@" &
    child=$!
    echo "$child" >"$pid_file"
    # The signal may have come between the check and the start.
    [[ -z $asked ]] || kill -TERM "$child" 2>/dev/null
    await_child
    status=$?
    child=''
    rm -f "$pid_file"
    if [[ -n $asked ]] || ((status == 0)); then break; fi
    printf '%s supervisor: %s ended with %d, starting it again\n' "$(date -u +%FT%TZ)" "$1" "$status"
    # 75 asks for a fresh process; what fails otherwise may fail again, and must not do so all the time.
    if ((status != 75)); then
        sleep 1 &
        wait $!
    fi
done
