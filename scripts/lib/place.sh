# place.sh: where things lie. Sets ROOT, DIR and what hangs on them; decides once, records in $DIR/place.
#
#   $DIR/secrets tls run log demo spool cache gateway.yaml env
#   $SOCKETS     short folder for Unix sockets (a socket's path holds 107 bytes)
#   $PG_DATA     PostgreSQL's data: it refuses to run as root, so as root it belongs to the system user postgres, and
#                lies outside the checkout when that user cannot reach it (a checkout under /root)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

place_of() { # DIR: only the names; nothing is made
    DIR=$(realpath -m -- "$1")
    SECRETS=$DIR/secrets
    RUN=$DIR/run
    LOGS=$DIR/log
    CONFIG=$DIR/gateway.yaml
    PLACE=$DIR/place
    LOG_FILE=$LOGS/up.log
    [ ! -r "$PLACE" ] || . "$PLACE"
}

reaches() { # USER DIR
    setpriv --reuid="$1" --regid="$1" --clear-groups test -x "$2" 2>/dev/null
}

place_make() {
    local hash owner
    hash=$(printf '%s' "$DIR" | sha256sum | cut -c1-10)
    if [ -d "$DIR" ]; then
        owner=$(stat -c %u "$DIR")
        [ "$owner" = "$(id -u)" ] || fail "$DIR belongs to user $(stat -c %U "$DIR")" \
            "run as that user, or choose another folder with --dir"
    fi
    mkdir -p "$DIR" || fail "cannot make $DIR" "choose a folder you may write with --dir"
    chmod 0711 "$DIR"
    mkdir -p "$SECRETS" "$RUN" "$LOGS" "$DIR/tls" "$DIR/demo" "$DIR/spool" "$DIR/cache"
    chmod 0700 "$SECRETS" "$RUN" "$LOGS" "$DIR/tls" "$DIR/demo" "$DIR/spool" "$DIR/cache"
    if [ -z "${PG_DATA:-}" ]; then
        if [ "$(id -u)" != 0 ]; then
            PG_USER=
            REDIS_USER=
            SOCKETS=/tmp/maas-$(id -u)-$hash
            PG_DATA=$DIR/postgres
        else
            PG_USER=postgres
            REDIS_USER=redis
            SOCKETS=/run/maas-$hash
            PG_DATA=$DIR/postgres
            reaches postgres "$DIR" || PG_DATA=/var/lib/maas-$hash/postgres
        fi
        printf 'PG_USER=%q\nREDIS_USER=%q\nSOCKETS=%q\nPG_DATA=%q\n' "$PG_USER" "$REDIS_USER" "$SOCKETS" "$PG_DATA" \
            >"$PLACE.new"
        mv "$PLACE.new" "$PLACE"
    fi
    socket_folder "$SOCKETS" "" 0711
    socket_folder "$SOCKETS/pg" "$PG_USER" 0700
    socket_folder "$SOCKETS/redis" "$REDIS_USER" 0700
}

socket_folder() { # PATH OWNER MODE: /tmp is shared, so a folder of somebody else is refused, not used
    mkdir -m "$3" -- "$1" 2>/dev/null
    [ -d "$1" ] && [ ! -L "$1" ] || fail "cannot make the folder for sockets $1" "remove what lies there"
    [ "$(id -u)" != 0 ] || chown "${2:-root}" "$1"
    [ "$(stat -c %u "$1")" = "$(id -u "${2:-$(id -un)}")" ] || fail "$1 belongs to another user" "remove it, or use --dir"
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
    (umask 077 && cat >"$1.new") && chmod "$2" "$1.new" && mv -f "$1.new" "$1"
}
