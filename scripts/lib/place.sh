# place.sh: where things lie. Sets ROOT, DIR and what hangs on them; decides once, records in $DIR/place.
#
#   $DIR/secrets tls run log demo spool cache gateway.yaml env
#   $SOCKETS     short folder for Unix sockets (a socket's path holds 107 bytes)
#   $PG_DATA     PostgreSQL's data: it refuses to run as root, so as root it belongs to the system user postgres, and
#                lies outside the checkout when that user cannot reach it (a checkout under /root)

shopt -s lastpipe # a write_file at the end of a pipe fails for the whole script
ROOT=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")

place_of() { # DIR: only the names; nothing is made
    DIR=$(realpath -m -- "$1")
    case $DIR in
    *[\'\"\\]* | *$'\n'*) fail "the path $DIR has a quote or a backslash in it" "choose another folder with --dir" ;;
    esac
    THIS_DIR= # as an argument in what we tell people to do
    [ "$DIR" = "$ROOT/.maas" ] || THIS_DIR=" --dir $(printf '%q' "$DIR")"
    SECRETS=$DIR/secrets
    RUN=$DIR/run
    LOGS=$DIR/log
    CONFIG=$DIR/gateway.yaml
    PLACE=$DIR/place
    [ ! -d "$DIR" ] || [ "$(stat -c %u "$DIR")" = "$(id -u)" ] || fail "$DIR belongs to user $(stat -c %U "$DIR")" \
        "run as that user, or choose another folder with --dir"
    PG_USER='' REDIS_USER='' SOCKETS='' PG_DATA=''
    [ ! -r "$PLACE" ] || . "$PLACE"
}

reaches() { # USER DIR
    setpriv --reuid="$1" --regid="$1" --clear-groups test -x "$2" 2>/dev/null
}

# Makes the folder ours, before anything else is done. The file `place` says that it is: everything in such a folder
# may go with a wipe, so a folder with other things in it is not taken.
place_claim() {
    [ -e "$PLACE" ] || [ -z "$(ls -A "$DIR" 2>/dev/null)" ] || fail "$DIR holds other things" \
        "choose an empty or a new folder with --dir"
    mkdir -p "$DIR" || fail "cannot make $DIR" "choose a folder you may write with --dir"
    chmod 0711 "$DIR"
    [ -e "$PLACE" ] || : >"$PLACE" || fail "cannot write into $DIR" "choose a folder you may write with --dir"
    mkdir -p "$SECRETS" "$RUN" "$LOGS" "$DIR/tls" "$DIR/demo" "$DIR/spool" "$DIR/cache" ||
        fail "cannot make folders in $DIR" "is there room on the disk?"
    chmod 0700 "$SECRETS" "$RUN" "$LOGS" "$DIR/demo" "$DIR/spool" "$DIR/cache"
    chmod 0711 "$DIR/tls" # clients read ca.pem
    place_lock
    : >"$LOGS/up.log"
    log_to "$LOGS/up.log"
}

place_lock() { # one up or down at a time; ends with the script
    exec 9>"$RUN/lock"
    flock -n 9 && return
    note "waiting: another up or down works in $DIR"
    flock -w 600 9 || fail "another up or down works in $DIR" "wait for it to end"
}

place_decide() {
    local hash
    hash=$(printf '%s' "$DIR" | sha256sum | cut -c1-10)
    PG_DATA=$DIR/postgres
    if [ "$(id -u)" != 0 ]; then
        SOCKETS=/tmp/maas-$(id -u)-$hash
    else
        PG_USER=postgres
        REDIS_USER=redis
        SOCKETS=/run/maas-$hash
        reaches postgres "$DIR" || PG_DATA=/var/lib/maas-$hash/postgres
    fi
}

# Whether something was started here, though perhaps the folder was deleted under it (git clean, rm -r).
place_known() {
    [ ! -f "$PLACE" ] || return 0
    place_decide
    [ -d "$SOCKETS" ] || return 1
    place_claim
    PG_DATA='' # to be decided anew: now the folder is there
    place_make
}

# Where sockets and PostgreSQL's data lie. Needs the service users, which the packages bring.
place_make() {
    if [ -z "$PG_DATA" ]; then
        place_decide
        printf 'PG_USER=%q\nREDIS_USER=%q\nSOCKETS=%q\nPG_DATA=%q\n' "$PG_USER" "$REDIS_USER" "$SOCKETS" "$PG_DATA" |
            write_file "$PLACE" 644
    fi
    socket_folder "$SOCKETS" "" 0711
    socket_folder "$SOCKETS/pg" "$PG_USER" 0700
    socket_folder "$SOCKETS/redis" "$REDIS_USER" 0700
}

# The file `place` goes last, so that a wipe that was killed can be repeated.
place_wipe() {
    [ -z "$PG_DATA" ] || pg_wipe
    find "$DIR" -mindepth 1 ! -samefile "$PLACE" -delete && rm -f -- "$PLACE" || fail "cannot remove all of $DIR" "see the lines above"
    rmdir -- "$DIR" 2>/dev/null || true # a mount point stays, and a folder in one that is not ours
}

socket_folder() { # PATH OWNER MODE: /tmp is shared, so a folder of somebody else is refused, not used
    mkdir -m "$3" -- "$1" 2>/dev/null
    [ -d "$1" ] && [ ! -L "$1" ] || fail "cannot make the folder for sockets $1" "remove what lies there"
    [ "$(id -u)" != 0 ] || chown "${2:-root}" "$1"
    [ "$(stat -c %u "$1")" = "$(id -u ${2:+"$2"})" ] || fail "$1 belongs to another user" "remove it, or use --dir"
    chmod "$3" "$1"
}

# as_user USER COMMAND...: USER may be empty: no change. AS is the same as words in front of a command.
as_words() {
    AS=()
    [ -z "$1" ] || AS=(setpriv "--reuid=$1" "--regid=$1" --init-groups env HOME=/nonexistent)
}

as_user() {
    as_words "$1"
    shift
    (cd / && exec "${AS[@]}" "$@")
}

write_file() { # PATH MODE, content on stdin: all or nothing
    (umask 077 && cat >"$1.new") && chmod "$2" "$1.new" && mv -f "$1.new" "$1" && return
    rm -f "$1.new"
    fail "cannot write $1" "is there room on the disk? see: df $(printf '%q' "$DIR")"
}
