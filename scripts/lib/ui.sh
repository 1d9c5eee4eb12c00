# ui.sh: what the person at the terminal sees: steps with their time, and failures that say what to do.
# Output of commands goes to $LOG_FILE; its end is shown when a command fails.

STEP_STARTED=0
STEP_TEXT=
LOG_FILE=${LOG_FILE:-/dev/null}

now_ms() { # without a process: EPOCHREALTIME is "seconds.microseconds"
    local t=${EPOCHREALTIME/[^0-9]/}
    echo $((t / 1000))
}

seconds_since() { # MS → "12.3"
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

step() { # TEXT: opens a step; step_done or fail closes it
    STEP_TEXT=$1
    STEP_STARTED=$(now_ms)
    if [ -t 1 ]; then
        printf '  …      %s' "$STEP_TEXT"
    fi
}

step_done() { # [REMARK]
    [ -t 1 ] && printf '\r\033[K'
    printf '  %5ss %s%s\n' "$(seconds_since "$STEP_STARTED")" "$STEP_TEXT" "${1:+ ($1)}"
    STEP_TEXT=
}

note() {
    printf '         %s\n' "$*"
}

# fail WHAT HINT...: says what failed, the end of the log, and what to do about it.
fail() {
    local what=$1 hint
    shift
    [ -n "$STEP_TEXT" ] && [ -t 1 ] && printf '\n'
    {
        printf 'failed: %s\n' "${STEP_TEXT:+$STEP_TEXT: }$what"
        if [ -s "$LOG_FILE" ]; then
            printf 'the last lines of %s:\n' "$LOG_FILE"
            tail -n 15 "$LOG_FILE" | sed 's/^/    /'
        fi
        for hint in "$@"; do
            printf 'what to do: %s\n' "$hint"
        done
    } >&2
    exit 1
}

# run COMMAND...: output into the log; on a terminal the running seconds are shown meanwhile.
run() {
    printf '$ %s\n' "$*" >>"$LOG_FILE"
    if [ ! -t 1 ] || [ -z "$STEP_TEXT" ]; then
        "$@" >>"$LOG_FILE" 2>&1 </dev/null
        return
    fi
    "$@" >>"$LOG_FILE" 2>&1 </dev/null &
    local pid=$! tenths=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.1
        tenths=$((tenths + 1))
        if [ $((tenths % 10)) = 0 ]; then
            printf '\r  %5ss %s' "$(seconds_since "$STEP_STARTED")" "$STEP_TEXT"
        fi
    done
    wait "$pid"
}
