# api.sh: calls to the gateway's two listeners. Secrets go to curl by a file descriptor, never as an argument, so that
# no process list shows them. STATUS holds the HTTP status, BODY the answer.

STATUS=
BODY=

call_once() { # SECRET URL METHOD [CURL OPTIONS...]
    local secret=$1 url=$2 method=$3 answer
    shift 3
    answer=$(curl -q -sS --noproxy '*' --max-time 120 --cacert "$DIR/tls/ca.pem" -X "$method" -w '\n%{http_code}' \
        -H @<(printf 'authorization: Bearer %s\n' "$secret") "$@" "$url" 2>&1)
    STATUS=${answer##*$'\n'}
    BODY=${answer%$'\n'*}
    printf '%s %s -> %s\n' "$method" "$url" "$STATUS" >>"$LOG_FILE"
}

# 503 says that nothing was done and that later may be better: a gateway that runs needs a moment to find a PostgreSQL
# that was started again, a model that is loaded.
call() { # as call_once
    local try
    for ((try = 0; try < 100; try++)); do
        call_once "$@"
        [ "$STATUS" = 503 ] || return 0
        sleep 0.1
    done
}

admin() { # METHOD PATH [JSON or curl options]
    local method=$1 path=$2
    shift 2
    if [ $# = 1 ]; then
        set -- -H 'content-type: application/json' --data-binary "$1"
    fi
    call "$(<"$SECRETS/admin_token")" "https://localhost:$ADMIN_PORT$path" "$method" "$@"
}

public() { # METHOD PATH [JSON or curl options]
    local method=$1 path=$2
    shift 2
    if [ $# = 1 ]; then
        set -- -H 'content-type: application/json' --data-binary "$1"
    fi
    call "$(<"$SECRETS/api_key")" "https://localhost:$PORT$path" "$method" "$@"
}

json_text() { # FIELD: the first string of that name in BODY, for our own keys and ids (no escapes in them)
    sed -n 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*"\([^"\\]*\)".*/\1/p' <<<"$BODY" | head -n 1
}

json_number() { # FIELD
    sed -n 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*\(-\{0,1\}[0-9][0-9.eE+-]*\).*/\1/p' <<<"$BODY" | head -n 1
}

expect() { # WHAT STATUS...
    local what=$1 status
    shift
    for status in "$@"; do
        [ "$STATUS" != "$status" ] || return 0
    done
    fail "$what: HTTP $STATUS: $BODY" "see $LOGS/gateway.log"
}

# The first admin token comes from the program itself; whether a kept one is still good only the server knows.
admin_token_ensure() {
    step "admin token"
    if [ -s "$SECRETS/admin_token" ]; then
        admin GET /admin/v1/tenants
        if [ "$STATUS" = 200 ]; then
            step_done "good"
            return
        fi
        [ "$STATUS" = 401 ] || expect "GET /admin/v1/tenants" 200
    fi
    (umask 077 && "$BIN/maas-gateway" --config "$CONFIG" --create-admin-token "up-$(date -u +%Y%m%dT%H%M%S)" --role owner \
        2>>"$LOG_FILE" | grep -o 'maas_admin_[0-9A-Za-z]*' >"$SECRETS/admin_token.new")
    [ -s "$SECRETS/admin_token.new" ] || fail "maas-gateway made no token" "see the lines above"
    mv "$SECRETS/admin_token.new" "$SECRETS/admin_token"
    admin GET /admin/v1/tenants
    expect "the new token" 200
    step_done
}
