# check.sh: every route that `maas-gateway --routes` prints, called with the demo key (or the admin token). A route
# that is printed but unknown here is called too: anything but "no such route", "no such method", a refused identity
# or a server's error will do.

CHECK_PASSED=0
CHECK_FAILED=0

check_url() { # PATH with {names} → a path that exists in the demo
    sed -e 's#/tenants/{}#/tenants/demo#; s#/models/{}#/models/diabetes#; s#/deployments/{}#/deployments/diabetes#' \
        -e 's/{model}/diabetes/; s/{deployment}/diabetes/; s/{name}/diabetes/; s/{version}/1/; s/{number}/1/' \
        -e 's/{tenant}/demo/; s/{slug}/demo/; s/{plan}/default/; s/{[a-z_]*}/00000000-0000-4000-8000-000000000000/g' <<<"$1"
}

# The demo model that answers a task's route, when it is one of those that are up.
check_model() { # PATH
    local name
    # shellcheck disable=SC2154 # up's list
    for name in $models; do
        model_use "$name"
        [ "$ROUTE" != "$1" ] || return 0
    done
    return 1
}

check_body() { # METHOD PATH: the body that a served answer needs, empty for none
    case "$1 $2" in
    "POST /v1/"*) check_model "$2" && echo "$REQUEST" || echo '{}' ;;
    "POST /v2/models/"*"/infer")
        echo '{"inputs":[{"name":"features","datatype":"FP64","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}' ;;
    POST\ * | PUT\ * | PATCH\ *) echo '{}' ;; # refused as incomplete, so that the check changes nothing
    esac
}

check_good() { # METHOD PATH: whether STATUS is what the route should say
    case "$1 $2" in
    *" /v1/keys"*) [ "$STATUS" = 403 ] ;; # the demo's key may not keep keys
    "POST /v1/"*) if check_model "$2"; then [ "$STATUS" = 200 ]; else [ "$STATUS" = 400 ]; fi ;; # else: incomplete
    "POST /v2/"* | "GET /v1/"* | "GET /v2"* | "GET /healthz" | "GET /readyz" | "GET /metrics")
        [ "$STATUS" = 200 ] ;;
    GET\ *"{"*) [ "$STATUS" = 200 ] || [ "$STATUS" = 404 ] ;;
    GET\ *) [ "$STATUS" = 200 ] ;;
    DELETE\ *) [ "$STATUS" = 404 ] || [ "$STATUS" = 204 ] ;;
    *) case $STATUS in 400 | 404 | 409 | 411 | 415 | 422) true ;; *) false ;; esac ;;
    esac
}

check_route() { # METHOD PATH
    local path body
    path=$(check_url "$2")
    body=$(check_body "$1" "$2")
    # shellcheck disable=SC2001 # [a-z_]* is no pattern of the shell's
    case "$1 $2" in
    "DELETE "*) path=$(sed 's/{[a-z_]*}/00000000-0000-4000-8000-000000000000/g' <<<"$2") ;; # never the demo's own
    esac
    set -- "$1" "$2" ${body:+"$body"}
    case $2 in
    /admin/* | /metrics | /readyz | /healthz) admin "$1" "$path" "${@:3}" ;;
    *) public "$1" "$path" "${@:3}" ;;
    esac
    if check_good "$1" "$2" && ! grep -qE 'there is nothing here|unknown_url' <<<"$BODY"; then
        CHECK_PASSED=$((CHECK_PASSED + 1))
        note "$STATUS  $1 $path"
    else
        CHECK_FAILED=$((CHECK_FAILED + 1))
        note "$STATUS  $1 $path    UNEXPECTED: ${BODY:0:200}"
    fi
}

check_routes() {
    local method path
    while read -r method path; do
        check_route "$method" "$path"
    done < <(
        "$BIN/maas-gateway" --routes
        printf 'GET /healthz\nGET /readyz\nGET /metrics\n'
    )
    note "$CHECK_PASSED routes answer, $CHECK_FAILED do not"
    [ "$CHECK_FAILED" = 0 ] && [ "$CHECK_PASSED" -gt 0 ]
}
