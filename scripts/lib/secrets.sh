# secrets.sh: random secrets, made once, each in a file of mode 0600 in $SECRETS. A file that is there is kept.

random_hex() { # BYTES
    od -An -vtx1 -N"$1" /dev/urandom | tr -d ' \n'
}

secret_ensure() { # NAME FORM(regex) CONTENT
    if ! grep -qxE -- "$2" "$SECRETS/$1" 2>/dev/null; then
        printf '%s\n' "$3" | write_file "$SECRETS/$1" 600
    fi
}

secrets_ensure() {
    local role
    for role in super gateway admin; do
        secret_ensure "pg_$role" '[0-9a-f]{48}' "$(random_hex 24)"
    done
    secret_ensure id_key '[0-9a-f]{64}' "$(random_hex 32)"
    secret_ensure pepper '1 [0-9a-f]{64}' "1 $(random_hex 32)"
    {
        printf '%s:*:*:maas_super:%s\n' "$SOCKETS/pg" "$(<"$SECRETS/pg_super")"
        for role in gateway admin; do
            printf '%s:*:*:maas_%s:%s\n' "$SOCKETS/pg" "$role" "$(<"$SECRETS/pg_$role")"
        done
    } | write_file "$SECRETS/pgpass" 600
}
