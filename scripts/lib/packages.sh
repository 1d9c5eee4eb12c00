# packages.sh: Debian packages, installed only when missing, without leaving system services behind.
#
# Installing postgresql-15 would create a cluster and start it, redis-server and nginx would start and be enabled at
# boot. Ours are private to the folder, so for the time of the installation a policy-rc.d forbids starting (if the
# machine has none), a createcluster setting forbids the cluster, and a unit that was not there before is disabled.

PACKAGES_BUILD="gcc g++ cmake ninja-build pkg-config libc6-dev libh2o-evloop-dev libssl-dev libhiredis-dev libpq-dev
    libopenblas-dev liblapacke-dev libcmocka-dev libsimdjson-dev libjansson-dev libyaml-dev libarchive-dev
    libseccomp-dev uthash-dev libjpeg62-turbo-dev libpng-dev libwebp-dev zlib1g-dev libprotobuf-c-dev
    protobuf-c-compiler libdnnl-dev"
PACKAGES_RUN="openssl curl postgresql-15 redis-server"
PACKAGES_TEST="python3 python3-pytest python3-numpy python3-sklearn clang-format shellcheck make libonnx-testdata"
PACKAGES_FULL="valgrind dataset-fashion-mnist python3-venv"
PACKAGES_FUZZ="clang libclang-rt-14-dev"
PACKAGES_BENCH="python3 python3-venv nginx-light nghttp2-client fasttext"

POLICY=/usr/sbin/policy-rc.d
CREATECLUSTER=/etc/postgresql-common/createcluster.d/maas-temporary.conf

packages_missing() { # PACKAGE... → the ones that are not installed, one line
    local have package missing=
    have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | awk '$2 == "installed" { print $1 }')
    for package in "$@"; do
        grep -qx -- "$package" <<<"$have" || missing="$missing $package"
    done
    echo "${missing# }"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -- "$@"
    fi
}

# The guard: forbids what package scripts would start. It also notes which units to disable afterwards, so that the next
# run can do it when this one is killed.
units_guard() { # UNIT...
    as_root mkdir -p "${CREATECLUSTER%/*}"
    printf '# maas: disable %s\ncreate_main_cluster = off\n' "$*" | as_root tee -a "$CREATECLUSTER" >/dev/null
    if [ ! -e "$POLICY" ]; then
        printf '#!/bin/sh\nexit 101 # maas: temporary, while packages are installed\n' | as_root tee "$POLICY" >/dev/null
        as_root chmod 755 "$POLICY"
    fi
}

units_unguard() {
    [ -e "$CREATECLUSTER" ] || return 0
    # shellcheck disable=SC2046 # a list of words
    units_disable $(sed -n 's/^# maas: disable //p' "$CREATECLUSTER") >>"$LOG_FILE" 2>&1
    if grep -q 'maas: temporary' "$POLICY" 2>/dev/null; then
        as_root rm -f "$POLICY"
    fi
    as_root rm -f "$CREATECLUSTER"
    as_root rmdir --ignore-fail-on-non-empty "${CREATECLUSTER%/*}" 2>/dev/null
}

units_disable() { # UNIT...: what an installation brought must not start at the next boot
    local unit
    for unit in "$@"; do
        if command -v systemctl >/dev/null; then
            as_root systemctl disable "$unit" || true
        elif command -v update-rc.d >/dev/null; then
            as_root update-rc.d "$unit" disable || true
        fi
    done
}

# The second try: with new lists of packages, and after the mending of an installation that was killed.
apt_install() { # PACKAGE...
    local -a quietly=(env DEBIAN_FRONTEND=noninteractive)
    local -a apt=("${quietly[@]}" apt-get -y -o DPkg::Lock::Timeout=300)
    as_root "${apt[@]}" install --no-install-recommends "$@" && return
    as_root "${quietly[@]}" dpkg --configure -a
    as_root "${apt[@]}" update && as_root "${apt[@]}" install --no-install-recommends "$@"
}

may_be_root() { # without being asked for a password
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

may_install() { # PACKAGE...: or says how others can
    local by_hand="as root, run: apt-get update && apt-get install --no-install-recommends $*"
    command -v apt-get >/dev/null || fail "there is no apt-get here" "this needs Debian 12"
    ! may_be_root || return 0
    command -v sudo >/dev/null || fail "packages are missing and there is no sudo" "$by_hand"
    printf '\n'
    sudo -v || fail "packages are missing and sudo was refused" "$by_hand"
}

# packages_ensure PACKAGE...: quick when everything is there.
packages_ensure() {
    local missing package units='' ok=0
    step "packages"
    missing=$(packages_missing "$@")
    if [ -z "$missing" ]; then
        if [ -e "$CREATECLUSTER" ] && may_be_root; then # of an up that was killed
            units_unguard
        fi
        step_done "all there"
        return
    fi
    STEP_TEXT="installing packages: $missing"
    # shellcheck disable=SC2086 # lists of words
    may_install $missing
    for package in $missing; do
        case $package in
        redis-server) units="$units redis-server" ;;
        postgresql-15) units="$units postgresql" ;;
        nginx-light) units="$units nginx" ;;
        esac
    done
    # shellcheck disable=SC2086
    units_guard $units
    trap units_unguard EXIT
    trap 'exit 130' INT TERM HUP # after apt-get ended: the guard stays as long as packages are set up
    # shellcheck disable=SC2086
    run apt_install $missing || ok=$?
    units_unguard
    trap - EXIT INT TERM HUP
    [ "$ok" = 0 ] || fail "apt-get could not install them" "look at the lines above; is the network there, and a Debian 12 mirror?"
    step_done
}
