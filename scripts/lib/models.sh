# models.sh: the demo's models, each trained here and now on real data and deployed through the admin API. A model is a
# file in models/, which sets
#
#   TASK PLUGIN     as the registry knows them
#   WHAT            what it is trained on, in a few words
#   OPTIONS         of the training
#   ROUTE REQUEST   what it is asked first
#   model_data DIR  writes the training data into DIR, or fails
#
# and may set ASK and CURL, the names of functions of its own that send and show a request which is no JSON.

DEMO=$DIR/demo
MODELS_ALL="diabetes language digits libraries"

model_use() { # NAME
    MODEL=$1
    OPTIONS=() REQUEST='' ASK=ask_json CURL=curl_json
    . "$lib/models/$MODEL.sh"
}

ask_json() {
    public POST "$ROUTE" "$REQUEST"
}

curl_json() { # the same, for a person to copy
    cat <<EOT
    curl --cacert "\$MAAS_CA" -H "authorization: Bearer \$MAAS_API_KEY" -H 'content-type: application/json' \\
        -d '$REQUEST' \\
        "\$MAAS_URL$ROUTE"
EOT
}

models_check() { # NAME...
    local name
    for name in "$@"; do
        case " $MODELS_ALL " in
        *" $name "*) ;;
        *) fail "--models: there is no demo model '$name'" "choose from: $MODELS_ALL" ;;
        esac
    done
}

# deb_files PACKAGE FOLDER FILE...: prints a folder with these files, which the package installs in FOLDER. Where it is
# not installed, the .deb alone is fetched (by apt-get, which checks it) and only these files are taken out.
deb_files() {
    local package=$1 folder=$2 file unpacked=$DEMO/debs/$1
    shift 2
    for file in "$@"; do
        if [ ! -r "/$folder/$file" ]; then
            deb_unpack "$package" "$unpacked" "${@/#/./$folder/}" && echo "$unpacked/$folder"
            return
        fi
    done
    echo "/$folder"
}

deb_download() { # a machine whose packages are all there may never have read its package lists
    apt-get download "$1" && return
    as_root apt-get update && apt-get download "$1"
}

deb_unpack() { # PACKAGE INTO FILE...
    local package=$1 into=$2
    shift 2
    rm -rf "$into" && mkdir -p "$into" && cd "$into" || return 1
    run deb_download "$package" || return 1
    dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x "$@" && rm -f "$package"_*.deb
}

model_train() { # → $DEMO/$MODEL/artifact.tar; says its progress, then what it is worth
    local here=$DEMO/$MODEL option worth
    local -a options=()
    step "$MODEL: training on $WHAT"
    if [ ! -e "$here/data/complete" ]; then
        rm -rf "$here" && mkdir -p "$here/data" || fail "cannot write into $DEMO" "is there room on the disk? see: df $DIR"
        (model_data "$here/data") || fail "the data could not be had" \
            "look at the lines above; is the network there, and room on the disk? as root, run: apt-get update; then try again"
        rm -rf "$DEMO/debs"
        : >"$here/data/complete"
    fi
    for option in "${OPTIONS[@]}"; do
        options+=(--option "$option")
    done
    rm -rf "$here/out" && mkdir "$here/out" || fail "cannot write into $here"
    run "$BIN/maas-worker" train --plugin "$BUILD/plugins/$PLUGIN.so" --data "$here/data" --out "$here/out" --seed 1 \
        "${options[@]}" || fail "the training failed" "see the lines above"
    tar -C "$here/out" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$here/artifact.tar" . ||
        fail "tar could not pack the model"
    worth=$(tail -n 400 "$LOG_FILE" | grep -E '^test_(r2|accuracy|rmse|ndcg_at_k) ' | tail -n 1)
    step_done "$worth"
}

# The file that was just built may run from now on; the digests of older builds stay allowed until somebody revokes them.
model_plugin() {
    local file=$BUILD/plugins/$PLUGIN.so sum
    sum=$(sha256sum "$file" | cut -d ' ' -f 1)
    [ ${#sum} = 64 ] || fail "$file cannot be read" "run scripts/up without --no-build"
    admin POST /admin/v1/plugins "{\"id\":\"$PLUGIN\",\"sha256\":\"$sum\"}"
    expect "allowing $PLUGIN" 200 201
}

model_is_deployed() {
    admin GET /admin/v1/deployments
    expect "GET /admin/v1/deployments" 200
    tr -d ' \n' <<<"$BODY" | grep -qE "\"name\":\"$MODEL\",\"tenant_id\":null,[^}]*\"state\":\"active\""
}

model_deploy() {
    local version
    step "$MODEL: upload and deployment"
    admin POST "/admin/v1/models/$MODEL/versions?plugin=$PLUGIN" -H 'content-type: application/x-tar' \
        --data-binary "@$DEMO/$MODEL/artifact.tar"
    expect "uploading the version" 200 201
    version=$(json_number number)
    [ -n "$version" ] || fail "the answer holds no version number: $BODY"
    admin PUT "/admin/v1/deployments/$MODEL" "{\"model\":\"$MODEL\",\"version\":$version,\"visibility\":\"all\"}"
    expect "deploying version $version" 200 201
    step_done
}

model_first_answer() {
    local try
    step "$MODEL: a first answer"
    for ((try = 0; try < 100; try++)); do # the route is known within a second, the worker starts meanwhile
        "$ASK"
        [ "$STATUS" = 200 ] && break
        case $STATUS in 404 | 502 | 504) sleep 0.1 ;; *) break ;; esac
    done
    expect "POST $ROUTE" 200
    step_done "${BODY:0:160}"
}

model_up() { # NAME
    model_use "$1"
    step "$MODEL: plugin $PLUGIN, model"
    model_plugin
    admin POST /admin/v1/models "{\"name\":\"$MODEL\",\"task\":\"$TASK\"}"
    expect "creating the model" 200 201 409
    if model_is_deployed; then
        step_done "deployed"
    else
        step_done
        model_train
        model_deploy
    fi
    model_first_answer
}

models_up() { # NAME...
    local name
    for name in "$@"; do
        model_up "$name"
    done
}
