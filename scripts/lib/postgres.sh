# postgres.sh: a private PostgreSQL 15: Unix socket only, data in $PG_DATA, passwords by SCRAM.

unset "${!PG@}" # PGPORT, PGPASSWORD and the like of the caller would reach our server and its clients
PG_BIN=/usr/lib/postgresql/15/bin

pg_conninfo() { # ROLE
    echo "host='$SOCKETS/pg' dbname=maas user=maas_$1 passfile='$SECRETS/pgpass'"
}

pg_sql() { # DATABASE SQL → rows
    PGPASSFILE=$SECRETS/pgpass "$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$SOCKETS/pg" -U maas_super -d "$1" -c "$2"
}

pg_pid() { # the postmaster, when it serves $PG_DATA
    local pid
    pid=$(as_user "$PG_USER" head -n 1 "$PG_DATA/postmaster.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$PG_DATA" ] && echo "$pid"
}

pg_exists() {
    [ -d "$PG_DATA" ]
}

pg_made_empty() { # FOLDER: of the service user
    rm -rf -- "$1"
    mkdir -p "$1" || fail "cannot make $1" "is there room on the disk?"
    [ -z "$PG_USER" ] || chown "$PG_USER" "$1"
    [ "${1%/*}" = "$DIR" ] || chmod 0711 "${1%/*}"
}

# Data is made beside its place and moved there when it is complete: what lies in $PG_DATA is never thrown away here.
# Shared memory is files in the folder, for systemd empties /dev/shm of what is an ordinary user's when they log out.
pg_initdb() {
    local new=$PG_DATA.new
    ! pg_exists || return 0
    step "PostgreSQL: a new data folder"
    pg_made_empty "$new"
    # The service user cannot read $SECRETS (nor reopen our stdin): it makes itself a copy for the time of the call.
    # shellcheck disable=SC2016 # sh expands it
    as_user "$PG_USER" sh -c 'umask 077; cat >"$1/password"; "$2/initdb" -D "$3" -U maas_super --pwfile="$1/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums; ok=$?; rm -f "$1/password"; exit $ok' \
        sh "$SOCKETS/pg" "$PG_BIN" "$new" <"$SECRETS/pg_super" >>"$LOG_FILE" 2>&1 ||
        fail "initdb failed" "see the lines above; is there room on the disk for $PG_DATA?"
    as_user "$PG_USER" tee -a "$new/postgresql.conf" >/dev/null <<EOT || fail "cannot write $new" "is there room on the disk?"
listen_addresses = ''
unix_socket_directories = '$SOCKETS/pg'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 64MB
dynamic_shared_memory_type = mmap
log_line_prefix = '%m [%p] %q%u@%d '
cluster_name = 'maas'
EOT
    mv -T -- "$new" "$PG_DATA" || fail "cannot move $new to $PG_DATA" "see the lines above"
    step_done
}

pg_pids() { # all processes of our server, by their working directory: the data folder, even one that was deleted
    local dir
    for dir in /proc/[0-9]*; do
        case $(readlink "$dir/exe" "$dir/cwd" 2>/dev/null) in
        "$PG_BIN"/postgres*$'\n'"$PG_DATA" | "$PG_BIN"/postgres*$'\n'"$PG_DATA (deleted)") echo "${dir#/proc/}" ;;
        esac
    done
}

# After kill -9 of the postmaster its children may live on and hold the shared memory: end them. A postmaster.pid
# whose number belongs to another process would stop a start.
pg_repair() {
    local pid
    for pid in $(pg_pids); do
        stop_pid "$pid" QUIT 5
    done
    as_user "$PG_USER" rm -f "$PG_DATA/postmaster.pid" "$SOCKETS"/pg/.s.PGSQL.*
}

pg_answers() {
    pg_sql postgres 'SELECT 1' >/dev/null 2>&1
}

pg_refuses() { # our password
    [[ $(LC_ALL=C pg_sql postgres 'SELECT 1' 2>&1) == *'password authentication failed'* ]]
}

pg_launch() { # true when it answers
    local try
    [ -S "$SOCKETS/pg/.s.PGSQL.5432" ] || pg_stop # a server whose socket was swept away hears nobody
    if ! pg_pid >/dev/null; then
        pg_repair
        as_words "$PG_USER"
        daemon postgres "$LOGS/postgres.log" "${AS[@]}" "$PG_BIN/postgres" -D "$PG_DATA"
    fi
    for ((try = 0; try < 600; try++)); do # recovery after a crash takes its time
        pg_answers && return
        pg_refuses && return 1
        pid_of postgres postgres >/dev/null || pg_pid >/dev/null || return 1
        sleep 0.1
    done
    return 1
}

pg_password() { # of the superuser, when its file was lost: single-user mode asks for none
    note "the superuser's password was lost: it gets a new one"
    pg_stop
    as_user "$PG_USER" "$PG_BIN/postgres" --single -D "$PG_DATA" postgres >/dev/null 2>>"$LOG_FILE" \
        <<<"ALTER ROLE maas_super PASSWORD '$(<"$SECRETS/pg_super")'"
}

pg_start() {
    pg_initdb
    step "PostgreSQL"
    if pg_pid >/dev/null && pg_answers; then
        step_done "runs"
        return
    fi
    log_to "$LOGS/postgres.log"
    pg_launch || { pg_refuses && pg_password && pg_launch; } ||
        fail "it does not answer on $SOCKETS/pg" "see $LOGS/postgres.log; is there room on the disk?" \
            "if the data is worthless: scripts/down --wipe$THIS_DIR, then scripts/up$THIS_DIR"
    log_to "$LOGS/up.log"
    step_done
}

pg_stop() {
    local pid stopped=1
    pid=$(pg_pid) && stop_pid "$pid" INT 20 && stopped=0
    for pid in $(pg_pids); do # of a postmaster that was killed, or of data that was deleted
        stop_pid "$pid" QUIT 5
        stopped=0
    done
    rm -f "$RUN/postgres.pid"
    return "$stopped"
}

# Half-deleted data must never be taken for data: it is moved to where half-made data lies.
pg_wipe() {
    rm -rf -- "$PG_DATA.new"
    ! pg_exists || mv -T -- "$PG_DATA" "$PG_DATA.new"
    rm -rf -- "$PG_DATA.new"
    case $PG_DATA in
    "$DIR"/*) ;;
    *) rmdir -- "${PG_DATA%/*}" 2>/dev/null ;; # ours: /var/lib/maas-…
    esac
}

pg_database() { # the database; roles and their rights come from the migrations
    [ "$(pg_sql postgres "SELECT 1 FROM pg_database WHERE datname = 'maas'")" = 1 ] ||
        run pg_sql postgres "CREATE DATABASE maas" || fail "cannot create the database"
}

pg_passwords() { # of the roles that the migrations made
    local role
    for role in gateway admin; do
        [ "$(pg_sql postgres "SELECT 1 FROM pg_roles WHERE rolname = 'maas_$role' AND rolcanlogin")" = 1 ] || continue
        PGPASSFILE=$SECRETS/pgpass "$PG_BIN/psql" -X -q -h "$SOCKETS/pg" -U maas_$role -d maas -c 'SELECT 1' \
            >/dev/null 2>&1 && continue
        # By a file descriptor, so that the password stands in no process list.
        PGPASSFILE=$SECRETS/pgpass "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$SOCKETS/pg" -U maas_super -d maas \
            -f <(printf "ALTER ROLE maas_%s PASSWORD '%s';\n" "$role" "$(<"$SECRETS/pg_$role")") >>"$LOG_FILE" 2>&1 ||
            fail "cannot set the password of role maas_$role"
    done
}
