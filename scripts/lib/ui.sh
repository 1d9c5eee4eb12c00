# ui.sh: what the person at the terminal sees: steps with their time, and failures that say what to do.
# Output of commands goes to $LOG_FILE; what a step added to it is shown when the step fails.

STEP_STARTED=0
STEP_TEXT=
LOG_FILE=/dev/null
LOG_SEEN=0 # bytes of it that are of no interest to the step

now_ms() { # without a process: EPOCHREALTIME is "seconds.microseconds"
    local t=${EPOCHREALTIME/[^0-9]/}
    echo $((t / 1000))
}

seconds_since() { # MS → "12.3"
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

log_to() { # FILE
    LOG_FILE=$1
    LOG_SEEN=$(stat -c %s "$1" 2>/dev/null) || LOG_SEEN=0
}

step_short() { # what fits one line of the terminal
    printf '%s' "${STEP_TEXT:0:$((${COLUMNS:-80} - 10))}"
}

step() { # TEXT: opens a step; step_done or fail closes it
    log_to "$LOG_FILE"
    STEP_TEXT=$1
    STEP_STARTED=$(now_ms)
    if [ -t 1 ]; then
        printf '  …      %s' "$(step_short)"
    fi
}

step_done() { # [REMARK]
    [ -t 1 ] && printf '\r\033[K'
    printf '  %5ss %s%s\n' "$(seconds_since "$STEP_STARTED")" "$STEP_TEXT" "${1:+ ($1)}"
    STEP_TEXT=
    log_to "$LOG_FILE"
}

note() {
    printf '         %s\n' "$*"
}

# fail WHAT HINT...: says what failed, the end of the step's log, and what to do about it.
fail() {
    local what=$1 lines hint
    shift
    lines=$(tail -c "+$((LOG_SEEN + 1))" "$LOG_FILE" 2>/dev/null | tail -n 15 | cut -c1-400)
    [ -n "$STEP_TEXT" ] && [ -t 1 ] && printf '\n'
    {
        printf 'failed: %s\n' "${STEP_TEXT:+$STEP_TEXT: }$what"
        if [ -n "$lines" ]; then
            printf 'the last lines of %s:\n' "$LOG_FILE"
            printf '%s\n' "$lines" | sed 's/^/    /'
        fi
        for hint in "$@"; do
            printf 'what to do: %s\n' "$hint"
        done
    } >&2
    exit 1
}

# On a terminal: the running seconds, as long as the script lives, and how far a command says it is.
ticker() {
    local progress
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        progress=$(tail -c 2000 "$LOG_FILE" | grep -a '^progress ' | tail -n 1)
        printf '\r\033[K  %5ss %s%s' "$(seconds_since "$STEP_STARTED")" "$(step_short)" "${progress:+:${progress#progress}}"
    done
}

# run COMMAND...: output into the log. The command stays in the foreground, where Ctrl-C reaches it.
run() {
    local ticks status
    printf '$ %s\n' "$*" >>"$LOG_FILE"
    if [ ! -t 1 ] || [ -z "$STEP_TEXT" ]; then
        "$@" >>"$LOG_FILE" 2>&1 </dev/null
        return
    fi
    ticker 9>&- &
    ticks=$!
    "$@" >>"$LOG_FILE" 2>&1 </dev/null
    status=$?
    kill "$ticks"
    wait "$ticks" 2>/dev/null
    return "$status"
}
