# demo.sh: a tenant and its key, through the admin API, and what a person is told at the end. The demo's models are in
# models.sh.

demo_tenant() {
    step "tenant demo and its key"
    admin POST /admin/v1/tenants '{"slug":"demo","name":"Demo","plan":"default"}'
    expect "creating the tenant" 200 201 409
    if [ -s "$SECRETS/api_key" ]; then
        public GET /v1/models
        if [ "$STATUS" = 200 ]; then
            step_done "good"
            return
        fi
        [ "$STATUS" = 401 ] || expect "GET /v1/models with the kept key" 200
    fi
    admin POST /admin/v1/tenants/demo/keys '{"name":"demo","scopes":["infer:*","usage:read"]}'
    expect "creating the key" 200 201
    json_text key | write_file "$SECRETS/api_key" 600
    grep -q '^maas_live_' "$SECRETS/api_key" || fail "the answer holds no key"
    step_done
}

env_write() {
    write_file "$DIR/env" 600 <<EOT
export MAAS_URL='https://localhost:$PORT'
export MAAS_ADMIN_URL='https://localhost:$ADMIN_PORT'
export MAAS_CA='$DIR/tls/ca.pem'
export MAAS_API_KEY='$(<"$SECRETS/api_key")'
export MAAS_ADMIN_TOKEN='$(<"$SECRETS/admin_token")'
export MAAS_TENANT='demo'
EOT
}

demo_show() { # MODEL...
    local name
    cat <<EOT

The key of tenant demo: $(<"$SECRETS/api_key")

    . $(printf '%q' "$DIR/env")
EOT
    for name in "$@"; do
        model_use "$name"
        "$CURL"
    done
    cat <<EOT
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" -H 'content-type: application/json' \\
        -d '{"inputs":[{"name":"features","datatype":"FP64","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}' \\
        "\$MAAS_URL/v2/models/diabetes/infer"
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" "\$MAAS_URL/v1/models"
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" "\$MAAS_URL/v1/usage"

scripts/down$THIS_DIR stops it, scripts/up$THIS_DIR --check tests every route.
EOT
}
