# tls.sh: a private certificate authority and a server certificate for localhost (ECDSA P-256). Whatever is missing,
# half-made, unfit or about to expire is made anew; the authority is kept as long as it is sound.

tls_key_fits() { # CERTIFICATE KEY
    [ "$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null)" = "$(openssl pkey -in "$2" -pubout 2>/dev/null)" ]
}

tls_ca_sound() {
    openssl x509 -in "$DIR/tls/ca.pem" -noout -checkend 2592000 >/dev/null 2>&1 &&
        tls_key_fits "$DIR/tls/ca.pem" "$DIR/tls/ca.key"
}

tls_server_sound() {
    openssl verify -CAfile "$DIR/tls/ca.pem" "$DIR/tls/server.pem" >/dev/null 2>&1 &&
        openssl x509 -in "$DIR/tls/server.pem" -noout -checkend 1209600 >/dev/null 2>&1 &&
        openssl x509 -in "$DIR/tls/server.pem" -noout -checkhost localhost | grep -q 'does match' &&
        tls_key_fits "$DIR/tls/server.pem" "$DIR/tls/server.key"
}

tls_key() { # NAME
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 2>>"$LOG_FILE" | write_file "$DIR/tls/$1.key" 600
}

tls_ca_make() {
    tls_key ca
    openssl req -x509 -new -key "$DIR/tls/ca.key" -sha256 -days 3650 -subj "/CN=maas local authority" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        2>>"$LOG_FILE" | write_file "$DIR/tls/ca.pem" 644
}

tls_server_make() {
    tls_key server
    openssl req -new -key "$DIR/tls/server.key" -subj "/CN=localhost" 2>>"$LOG_FILE" |
        openssl x509 -req -CA "$DIR/tls/ca.pem" -CAkey "$DIR/tls/ca.key" -set_serial "0x$(random_hex 16 | sed 's/^./1/')" \
            -sha256 -days 397 -extfile <(
                printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n'
                printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n'
                printf 'extendedKeyUsage=serverAuth\n'
            ) 2>>"$LOG_FILE" | write_file "$DIR/tls/server.pem" 644
}

tls_ensure() {
    step "certificate"
    if tls_ca_sound && tls_server_sound; then
        step_done "good"
        return
    fi
    tls_ca_sound || tls_ca_make
    tls_server_make
    tls_ca_sound && tls_server_sound || fail "openssl made no usable certificate" "is the clock right? see $LOG_FILE"
    step_done
}
