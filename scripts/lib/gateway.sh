# gateway.sh: the configuration, the supervisor, readiness.

BUILD=$ROOT/build/release
[ -w "$ROOT" ] || BUILD=$DIR/build # somebody else's checkout, or one that is mounted read-only
BUILD=$(realpath -m -- "${MAAS_BUILD_DIR:-$BUILD}")
BIN=$BUILD/bin

build_release() {
    step "build"
    if [ ! -f "$BUILD/build.ninja" ]; then
        (cd "$ROOT" && run cmake --preset release -B "$BUILD") || fail "cmake could not configure" "see the lines above"
    fi
    # Not the tests and benches: a first start should not wait for them.
    run cmake --build "$BUILD" --target gateway/all plugins/all || fail "the build broke" \
        "if the tree was changed: mend it; if the folder is stale: rm -r $BUILD and try again"
    step_done
}

programs_check() {
    local program
    for program in maas-supervisor maas-gateway maas-worker maas-migrate; do
        [ -f "$BIN/$program" ] || fail "$BIN/$program is not there" "run scripts/up$THIS_DIR without --no-build"
        [ -x "$BIN/$program" ] || fail "$BIN/$program may not be run" "is the file system mounted noexec? use a checkout elsewhere"
    done
}

config_write() { # true when it changed
    local old=
    [ ! -f "$CONFIG" ] || old=$(<"$CONFIG")
    write_file "$CONFIG" 600 <<EOT
# Written by scripts/up; changes are lost at the next run. Every key: maas-gateway --print-config
listen: "127.0.0.1:$PORT"
admin:
  listen: "127.0.0.1:$ADMIN_PORT"
tls:
  cert: "$DIR/tls/server.pem"
  key: "$DIR/tls/server.key"
postgres:
  conninfo: "$(pg_conninfo gateway)"
  admin_conninfo: "$(pg_conninfo admin)"
redis:
  address: "unix:$SOCKETS/redis/redis.sock"
auth:
  id_key_file: "$SECRETS/id_key"
  pepper_file: "$SECRETS/pepper"
spool:
  dir: "$DIR/spool"
workers:
  plugins_dir: "$BUILD/plugins"
  cache_dir: "$DIR/cache"
EOT
    [ "$old" != "$(<"$CONFIG")" ]
}

migrate() {
    step "migrations"
    run "$BIN/maas-migrate" --conninfo "$(pg_conninfo super)" --dir "$ROOT/migrations" ||
        fail "a migration was refused" "see the lines above; nothing of the failing file was applied"
    pg_passwords
    step_done
}

# What a running gateway was started from: programs, plugins, secrets, certificate, database, folders, and overrides in
# the environment (all of MAAS_ but what .maas/env and the scripts themselves set). When it differs, it is restarted.
gateway_stamp() {
    stat -c '%n %y %i' "$SECRETS/id_key" "$SECRETS/pepper" "$DIR/tls/server.pem" "$PG_DATA/PG_VERSION" 2>/dev/null
    stat -c '%n %i' "$DIR/spool" "$DIR/cache"
    stat -c '%n %Y %s' "$BIN"/maas-* "$BUILD"/plugins/*.so 2>/dev/null
    env | grep '^MAAS_' | grep -vE '^MAAS_(URL|ADMIN_URL|CA|API_KEY|ADMIN_TOKEN|TENANT|BUILD_DIR|RELEASE_DIR|TEST_DATA)=' | LC_ALL=C sort
}

gateway_pid() {
    pid_of gateway maas-supervisor
}

gateway_stop() {
    local stopped=1
    stop_all gateway maas-supervisor "$CONFIG" TERM 40 && stopped=0
    stop_all gateway maas-gateway "$CONFIG" TERM 40 && stopped=0 # what a killed supervisor left behind
    return "$stopped"
}

# Those that were asked for, else the last ones, so that a plain up moves nothing.
ports_choose() {
    if [ -z "$PORT$ADMIN_PORT" ] && [ -f "$CONFIG" ]; then
        PORT=$(sed -n 's/^listen: "127.0.0.1:\([0-9]*\)"$/\1/p' "$CONFIG")
        ADMIN_PORT=$(sed -n 's/^  listen: "127.0.0.1:\([0-9]*\)"$/\1/p' "$CONFIG")
    fi
    PORT=${PORT:-8443}
    if [ -z "$ADMIN_PORT" ]; then
        port --admin-port $((PORT + 1))
        ADMIN_PORT=$NUMBER
    fi
    [ "$PORT" != "$ADMIN_PORT" ] || fail "both listeners cannot have port $PORT" "choose another --admin-port"
}

# One that was just killed may hold its port for a moment after its name is gone.
port_stays_taken() { # PORT
    local try
    for ((try = 0; try < 20; try++)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || return 1
        sleep 0.1
    done
}

# Before anything is started or stopped. The ports of a gateway of ours are free to us.
ports_check() {
    local port ours lowest=1024
    [ ! -r /proc/sys/net/ipv4/ip_unprivileged_port_start ] || lowest=$(</proc/sys/net/ipv4/ip_unprivileged_port_start)
    ours=$(pids_with maas-supervisor "$CONFIG"; pids_with maas-gateway "$CONFIG")
    [ -z "$ours" ] || grep -qs '^listen: ' "$CONFIG" || return 0 # without its configuration nobody knows which
    for port in "$PORT" "$ADMIN_PORT"; do
        [ -n "$ours" ] && grep -qF "127.0.0.1:$port\"" "$CONFIG" && continue
        [ "$(id -u)" = 0 ] || [ "$port" -ge "$lowest" ] || fail "port $port may be opened by root only" \
            "choose one from $lowest on: scripts/up$THIS_DIR --port 9443 --admin-port 9444"
        ! port_stays_taken "$port" || fail "port $port is taken by another program" \
            "stop that program, or choose others: scripts/up$THIS_DIR --port 9443 --admin-port 9444"
    done
}

gateway_ready() {
    curl -q -sf --noproxy '*' -o /dev/null --max-time 2 --cacert "$DIR/tls/ca.pem" "https://localhost:$ADMIN_PORT/readyz" 2>/dev/null
}

gateway_start() { # CHANGED(0|1)
    local try
    step "gateway"
    if [ "$1" = 0 ] && gateway_pid >/dev/null && [ "$(gateway_stamp)" = "$(cat "$RUN/gateway.stamp" 2>/dev/null)" ] &&
        gateway_ready; then
        step_done "runs"
        return
    fi
    gateway_stop
    log_to "$LOGS/gateway.log"
    gateway_stamp >"$RUN/gateway.stamp"
    daemon gateway "$LOG_FILE" "$BIN/maas-supervisor" --config "$CONFIG"
    for ((try = 0; try < 300; try++)); do
        gateway_ready && break
        gateway_pid >/dev/null || break
        sleep 0.1
    done
    gateway_ready || fail "it is not ready on port $ADMIN_PORT" "see the lines above, and $LOG_FILE"
    log_to "$LOGS/up.log"
    step_done
}
