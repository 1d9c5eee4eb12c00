# demo.sh: a tenant, its key, and a model trained here and now on real data; everything through the admin API.
#
# The data: diabetes patients (442 rows, 10 measurements, progression after a year), as shipped in Debian's
# python3-sklearn. With what it depends on (scipy, numpy) that is 25 MB to fetch and 115 MB on disk for two small files,
# so when it is not installed the .deb alone (2 MB) is fetched by apt-get and the files are taken out of it.

SKLEARN_DATA=usr/lib/python3/dist-packages/sklearn/datasets/data
DEMO=$DIR/demo
DEMO_BODY='{"model":"diabetes","features":{"age":59,"sex":2,"bmi":32.1,"bp":101,"s1":157,"s2":93.2,"s3":38,"s4":4,"s5":4.8598,"s6":87}}'

demo_download() { # a machine whose packages are all there may never have read its package lists
    apt-get download python3-sklearn && return
    as_root apt-get update && apt-get download python3-sklearn
}

demo_source() { # prints the folder with the two files
    local unpacked=$DEMO/sklearn
    if [ -r "/$SKLEARN_DATA/diabetes_data_raw.csv.gz" ]; then
        echo "/$SKLEARN_DATA"
        return
    fi
    rm -rf "$unpacked" && mkdir "$unpacked" && cd "$unpacked" || return 1
    run demo_download || return 1
    dpkg-deb --fsys-tarfile python3-sklearn_*.deb |
        tar -x "./$SKLEARN_DATA/diabetes_data_raw.csv.gz" "./$SKLEARN_DATA/diabetes_target.csv.gz" || return 1
    echo "$unpacked/$SKLEARN_DATA"
}

demo_data() {
    local source
    [ ! -s "$DEMO/data/train.csv" ] || return 0
    source=$(demo_source) || fail "the data set could not be fetched: Debian's package python3-sklearn" \
        "look at the lines above; is the network there, and room on the disk? as root, run: apt-get update; then try again"
    mkdir -p "$DEMO/data"
    {
        echo "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6,progression"
        paste -d ' ' <(gzip -dc "$source/diabetes_data_raw.csv.gz") \
            <(gzip -dc "$source/diabetes_target.csv.gz" | awk '{ print $1 + 0 }') | tr -s ' ' ','
    } >"$DEMO/rows.csv"
    [ "$(wc -l <"$DEMO/rows.csv")" = 443 ] || fail "the data set has not 442 rows" "is there room on the disk? see: df $DIR"
    mv "$DEMO/rows.csv" "$DEMO/data/train.csv"
    rm -rf "$DEMO/sklearn"
}

demo_train() { # → $DEMO/artifact.tar
    step "training on 442 patients"
    demo_data
    rm -rf "$DEMO/out" && mkdir "$DEMO/out" || fail "cannot write into $DEMO"
    run "$BIN/maas-worker" train --plugin "$BUILD/plugins/maas.linreg.so" --data "$DEMO/data" --out "$DEMO/out" --seed 1 \
        --option target=progression || fail "the training failed" "see the lines above"
    tar -C "$DEMO/out" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$DEMO/artifact.tar" . ||
        fail "tar could not pack the model"
    step_done
}

# The file that was just built may run from now on; the digests of older builds stay allowed until somebody revokes them.
demo_plugin() {
    local file=$BUILD/plugins/maas.linreg.so sum
    step "plugin maas.linreg"
    sum=$(sha256sum "$file" | cut -d ' ' -f 1)
    [ ${#sum} = 64 ] || fail "$file cannot be read" "run scripts/up without --no-build"
    admin POST /admin/v1/plugins "{\"id\":\"maas.linreg\",\"sha256\":\"$sum\"}"
    expect "allowing maas.linreg" 200 201
    step_done
}

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

demo_model() {
    local version
    step "model diabetes"
    admin POST /admin/v1/models '{"name":"diabetes","task":"regression"}'
    expect "creating the model" 200 201 409
    admin GET /admin/v1/deployments
    expect "GET /admin/v1/deployments" 200
    if tr -d ' \n' <<<"$BODY" | grep -qE '"name":"diabetes","tenant_id":null,[^}]*"state":"active"'; then
        step_done "deployed"
        return
    fi
    step_done
    demo_train
    step "upload and deployment"
    admin POST '/admin/v1/models/diabetes/versions?plugin=maas.linreg' -H 'content-type: application/x-tar' \
        --data-binary "@$DEMO/artifact.tar"
    expect "uploading the version" 200 201
    version=$(json_number number)
    [ -n "$version" ] || fail "the answer holds no version number: $BODY"
    admin PUT /admin/v1/deployments/diabetes "{\"model\":\"diabetes\",\"version\":$version,\"visibility\":\"all\"}"
    expect "deploying version $version" 200 201
    step_done
}

demo_predict() {
    local try
    step "a first prediction"
    for ((try = 0; try < 100; try++)); do # the route is known within a second, the worker starts meanwhile
        public POST /v1/regression "$DEMO_BODY"
        [ "$STATUS" = 200 ] && break
        case $STATUS in 404 | 502 | 504) sleep 0.1 ;; *) break ;; esac
    done
    expect "POST /v1/regression" 200
    step_done "$BODY"
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

demo_show() {
    cat <<EOT

The key of tenant demo: $(<"$SECRETS/api_key")

    . $(printf '%q' "$DIR/env")
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" -H 'content-type: application/json' \\
        -d '$DEMO_BODY' \\
        "\$MAAS_URL/v1/regression"
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" -H 'content-type: application/json' \\
        -d '{"inputs":[{"name":"features","datatype":"FP64","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}' \\
        "\$MAAS_URL/v2/models/diabetes/infer"
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" "\$MAAS_URL/v1/models"
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" "\$MAAS_URL/v1/usage"

scripts/down$THIS_DIR stops it, scripts/up$THIS_DIR --check tests every route.
EOT
}
