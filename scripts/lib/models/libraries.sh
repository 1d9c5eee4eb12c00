# libraries.sh: which Python libraries go with which, by factors of implicit choices.
#
# The data: Debian's own package lists: who depends on which python3-… library. A package is the user, a library the item.

TASK=recommendation
PLUGIN=maas.recommender
WHAT="who depends on which library"
ROUTE=/v1/recommendations
OPTIONS=(method=ials rating_column= rank=16 ridge=1 alpha=10 sweeps=4 test_every=10)
REQUEST='{"model":"libraries","items":["python3-numpy","python3-matplotlib"],"k":3,"explain":true}'

dependencies() { # rows of package,library; libraries that four others or more want, packages that want two or more
    apt-cache dumpavail | awk '
        /^Package: / { package = $2 }
        /^(Depends|Recommends): / {
            count = split(substr($0, index($0, ":") + 1), wanted, ",")
            for (i = 1; i <= count; i++) {
                split(wanted[i], part, /[ |(:]+/)
                if (part[2] ~ /^python3-[a-z0-9.+-]+$/ && !((package, part[2]) in seen)) {
                    seen[package, part[2]] = 1
                    print package "," part[2]
                }
            }
        }' | LC_ALL=C sort | awk -F , '
        { row[NR] = $0; package[NR] = $1; item[NR] = $2; wants[$1]++; wanted[$2]++ }
        END { for (i = 1; i <= NR; i++) if (wanted[item[i]] >= 4 && wants[package[i]] >= 2) print row[i] }'
}

model_data() { # FOLDER
    local try
    for try in 1 2; do # a machine may never have read its package lists
        {
            echo user,item
            dependencies
        } >"$1/train.csv"
        [ "$(wc -l <"$1/train.csv")" -gt 5000 ] && return
        as_root apt-get update || return 1
    done
    return 1
}
