# postgres.sh: a private PostgreSQL 15: Unix socket only, data in $PG_DATA, passwords by SCRAM.

PG_BIN=/usr/lib/postgresql/15/bin

pg_conninfo() { # ROLE
    echo "host=$SOCKETS/pg dbname=maas user=maas_$1 passfile=$SECRETS/pgpass"
}

pg_sql() { # DATABASE SQL → rows
    PGPASSFILE=$SECRETS/pgpass "$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$SOCKETS/pg" -U maas_super -d "$1" -c "$2"
}

pg_pid() { # the postmaster, when it serves $PG_DATA
    local pid
    pid=$(as_user "$PG_USER" head -n 1 "$PG_DATA/postmaster.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$PG_DATA" ] && echo "$pid"
}

pg_initdb() {
    local parent=${PG_DATA%/*}
    if [ -n "$PG_USER" ]; then
        mkdir -p "$PG_DATA"
        [ "$parent" = "$DIR" ] || chmod 0711 "$parent"
        chown "$PG_USER" "$PG_DATA"
    fi
    as_user "$PG_USER" test -s "$PG_DATA/PG_VERSION" && [ -e "$RUN/postgres.made" ] && return
    step "PostgreSQL: a new data folder"
    rm -f "$RUN/postgres.made"
    as_user "$PG_USER" find "$PG_DATA" -mindepth 1 -delete 2>/dev/null # of an initdb that did not finish
    # The service user cannot read $SECRETS (nor reopen our stdin): it makes itself a copy for the time of the call.
    as_user "$PG_USER" sh -c 'umask 077; cat >"$1/password"; "$2/initdb" -D "$3" -U maas_super --pwfile="$1/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums; ok=$?; rm -f "$1/password"; exit $ok' \
        sh "$SOCKETS/pg" "$PG_BIN" "$PG_DATA" <"$SECRETS/pg_super" >>"$LOG_FILE" 2>&1 ||
        fail "initdb failed" "is there room on the disk for $PG_DATA?"
    as_user "$PG_USER" tee -a "$PG_DATA/postgresql.conf" >/dev/null <<EOT
listen_addresses = ''
unix_socket_directories = '$SOCKETS/pg'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 64MB
log_line_prefix = '%m [%p] %q%u@%d '
cluster_name = 'maas'
EOT
    touch "$RUN/postgres.made"
    step_done
}

# After kill -9 of the postmaster its children may live on and hold the shared memory: end them; they are ours by
# their working directory. A postmaster.pid whose number belongs to another process would stop a start.
pg_repair() {
    local dir pid
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [ "$(readlink "$dir/cwd" 2>/dev/null)" = "$PG_DATA" ] && stop_pid "$pid" QUIT 5
    done
    as_user "$PG_USER" rm -f "$PG_DATA/postmaster.pid" "$SOCKETS"/pg/.s.PGSQL.*
}

pg_answers() {
    pg_sql postgres 'SELECT 1' >/dev/null 2>&1
}

pg_start() {
    pg_initdb
    step "PostgreSQL"
    if pg_pid >/dev/null && pg_answers; then
        step_done "runs"
        return
    fi
    pg_pid >/dev/null || pg_repair
    local try
    : >>"$LOGS/postgres.log"
    if ! pg_pid >/dev/null; then
        as_words "$PG_USER"
        daemon postgres "$LOGS/postgres.log" "${AS[@]}" "$PG_BIN/postgres" -D "$PG_DATA"
    fi
    for ((try = 0; try < 600; try++)); do # recovery after a crash takes its time
        pg_answers && break
        pid_of postgres postgres >/dev/null || [ -n "$(pg_pid)" ] || break
        sleep 0.1
    done
    LOG_FILE=$LOGS/postgres.log
    pg_answers || fail "it does not answer on $SOCKETS/pg" "see $LOGS/postgres.log" \
        "if the data is worthless: scripts/down --wipe, then scripts/up"
    LOG_FILE=$LOGS/up.log
    step_done
}

pg_stop() {
    local pid
    pid=$(pg_pid) || { rm -f "$RUN/postgres.pid"; return 1; }
    stop_pid "$pid" INT 20
    rm -f "$RUN/postgres.pid"
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
