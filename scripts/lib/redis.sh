# redis.sh: a private Redis: Unix socket only, nothing on disk (the limits are built for its loss), no eviction.

REDIS_CLI=(redis-cli --no-auth-warning)

redis_answers() {
    [ "$("${REDIS_CLI[@]}" -s "$SOCKETS/redis/redis.sock" PING 2>/dev/null)" = PONG ]
}

redis_start() {
    local try
    step "Redis"
    if pid_of redis redis-server >/dev/null && redis_answers; then
        step_done "runs"
        return
    fi
    redis_stop
    as_words "$REDIS_USER"
    daemon redis "$LOGS/redis.log" "${AS[@]}" redis-server --port 0 --unixsocket "$SOCKETS/redis/redis.sock" \
        --unixsocketperm 700 --save '' --appendonly no --maxmemory 256mb --maxmemory-policy noeviction \
        --daemonize no --dir / --set-proc-title no
    for ((try = 0; try < 100; try++)); do
        redis_answers && break
        pid_of redis redis-server >/dev/null || break
        sleep 0.05
    done
    log_to "$LOGS/redis.log"
    redis_answers || fail "it does not answer on $SOCKETS/redis/redis.sock" "see $LOGS/redis.log"
    log_to "$LOGS/up.log"
    step_done
}

redis_stop() {
    stop_all redis redis-server "$SOCKETS/redis/redis.sock" TERM 10
}
