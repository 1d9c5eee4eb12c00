# secrets.sh: random secrets, made once, each in a file of mode 0600 in $SECRETS. A file that is there is kept; one
# that is there and is not what it should be is nothing that a new secret would mend, so it is said.

random_hex() { # BYTES
    od -An -vtx1 -N"$1" /dev/urandom | tr -d ' \n'
}

secret_ensure() { # NAME FORM(regex) CONTENT; true when it was made
    if [ ! -e "$SECRETS/$1" ]; then
        printf '%s\n' "$3" | write_file "$SECRETS/$1" 600
        return
    fi
    grep -qxE -- "$2" "$SECRETS/$1" || fail "$SECRETS/$1 is not what up wrote there" \
        "put the right file back, or delete it: then up makes a new one and says what that costs"
    return 1
}

# What API keys hang on: when it is lost, so are they, and nobody should have to find that out from 401s.
secret_of_keys() { # NAME FORM CONTENT
    if secret_ensure "$@" && pg_exists; then
        note "LOST: $SECRETS/$1. A new one was made; every API key made so far is refused from now on."
        note "      Put the old file back and run up again, or make new keys (the demo's is made now)."
    fi
}

secrets_ensure() {
    local role
    for role in super gateway admin; do
        secret_ensure "pg_$role" '[0-9a-f]{48}' "$(random_hex 24)"
    done
    secret_of_keys id_key '[0-9a-f]{64}' "$(random_hex 32)"
    secret_of_keys pepper '[0-9]+ [0-9a-f]{64}' "1 $(random_hex 32)"
    {
        printf '%s:*:*:maas_super:%s\n' "$SOCKETS/pg" "$(<"$SECRETS/pg_super")"
        for role in gateway admin; do
            printf '%s:*:*:maas_%s:%s\n' "$SOCKETS/pg" "$role" "$(<"$SECRETS/pg_$role")"
        done
    } | write_file "$SECRETS/pgpass" 600
}
