# process.sh: background processes by pid file. A pid file holds "PID STARTTIME" (field 22 of /proc/PID/stat), so a
# number that was given to somebody else after a crash or a reboot is never taken for ours.

start_time() { # PID
    sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

pid_write() { # NAME PID
    printf '%s %s\n' "$2" "$(start_time "$2")" >"$RUN/$1.pid"
}

# pid_of NAME WORD: prints the pid when the process of the pid file still runs and has WORD in its command line.
pid_of() {
    local pid start
    read -r pid start 2>/dev/null <"$RUN/$1.pid" || return 1
    [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ] || return 1
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$2" || return 1
    echo "$pid"
}

# daemon NAME LOG COMMAND...: starts in a session of its own, without our terminal and our lock.
daemon() {
    local name=$1 log=$2
    shift 2
    (cd / && exec setsid "$@") </dev/null >>"$log" 2>&1 9>&- &
    pid_write "$name" $!
    disown $!
}

wait_gone() { # PID START SECONDS
    local tenths=$(($3 * 20))
    while [ "$tenths" -gt 0 ]; do
        [ "$(start_time "$1")" = "$2" ] || return 0
        grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null && return 0
        sleep 0.05
        tenths=$((tenths - 1))
    done
    return 1
}

# stop_pid PID SIGNAL SECONDS: asks, waits, then insists.
stop_pid() {
    local start
    start=$(start_time "$1")
    [ -n "$start" ] || return 0
    kill "-$2" "$1" 2>/dev/null
    wait_gone "$1" "$start" "$3" && return 0
    kill -KILL "$1" 2>/dev/null
    wait_gone "$1" "$start" 10
}

stop_named() { # NAME WORD SIGNAL SECONDS; true when something was stopped
    local pid
    pid=$(pid_of "$1" "$2") || { rm -f "$RUN/$1.pid"; return 1; }
    stop_pid "$pid" "$3" "$4"
    rm -f "$RUN/$1.pid"
}

# stop_all NAME PROGRAM ARGUMENT SIGNAL SECONDS: also those whose pid file was lost; true when something was stopped.
stop_all() {
    local pid stopped=1
    stop_named "$1" "$2" "$4" "$5" && stopped=0
    for pid in $(pids_with "$2" "$3"); do
        stop_pid "$pid" "$4" "$5"
        stopped=0
    done
    return "$stopped"
}

# pids_with PROGRAM ARGUMENT: processes whose program has that base name and that exact argument.
pids_with() {
    local dir word
    local -a words
    for dir in /proc/[0-9]*; do
        { mapfile -d '' -t words <"$dir/cmdline"; } 2>/dev/null || continue
        [ "${#words[@]}" -gt 0 ] && [ "${words[0]##*/}" = "$1" ] || continue # kernel threads have no words
        for word in "${words[@]:1}"; do
            [ "$word" != "$2" ] || { echo "${dir#/proc/}"; break; }
        done
    done
}
