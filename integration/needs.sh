# Owns what the integration tests need beside this clone: Debian's packages and environments of
# Python, installed where they are missing. Sourced; it sets `cache`, and the folder that cargo
# builds in.
#
# A test that is called with `--prepare` installs what it needs and does nothing else. `.ci/run` has
# that done for all of them while it compiles.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/emr-etl-guard
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
mkdir -p "$cache"

# need_packages PROBE:PACKAGE…: a probe is a command, or a file by its whole path; where there is no
# such thing, Debian's package is installed, as root.
need_packages() {
    local entry probe missing=()
    for entry; do
        probe=${entry%%:*}
        case $probe in
            /*) [[ -e $probe ]] || missing+=("${entry#*:}") ;;
            *) command -v "$probe" > /dev/null || missing+=("${entry#*:}") ;;
        esac
    done
    ((${#missing[@]})) || return 0
    update_packages
    (
        # One at a time: apt waits for another that installs, but not for one that updates.
        flock 9
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install --yes \
            --no-install-recommends "${missing[@]}" > /dev/null 9>&-
    ) 9> "$cache/apt.lock"
}

# update_packages: has apt read its lists, unless that was done in the last hour.
update_packages() {
    (
        flock 9
        if [[ -z $(find "$cache/apt.updated" -mmin -60 2> /dev/null) ]] ||
            ! compgen -G '/var/lib/apt/lists/*Packages*' > /dev/null; then
            apt-get -qq update 9>&-
            touch "$cache/apt.updated"
        fi
    ) 9> "$cache/apt.lock"
}

# need_venv NAME REQUIREMENTS: sets `venv` to an environment of Python that has what the file lists.
need_venv() {
    local key
    if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
        need_packages "/no/probe:python3-venv"
    fi
    # A folder of its own for each list of packages and Python, so that a change of either never
    # meets the leftovers of another.
    key=$({ cat "$2"; python3 --version; } | sha256sum | cut -c1-12)
    venv=$cache/$1-$key
    (
        flock 9
        if [[ ! -e $venv/complete ]]; then
            rm -rf "$venv"
            python3 -m venv "$venv"
            "$venv/bin/pip" install --quiet --no-input --disable-pip-version-check \
                --requirement "$2"
            touch "$venv/complete"
        fi
    ) 9> "$cache/$1.lock"
}

# need_cargo_tool NAME VERSION [OPTION…]: a program that no registry has built, compiled from its
# source without optimisation, since it runs once, with these options of `cargo install`. Its folder
# is put on PATH.
need_cargo_tool() {
    local root=$cache/tools-$1-$2
    (
        flock 9
        if [[ ! -x $root/bin/$1 ]]; then
            # In a target folder of its own, or its dependencies would mix with ours.
            cargo install "$1" --version "$2" --locked --debug --quiet --root "$root" \
                --target-dir "$root/target" "${@:3}"
            rm -rf "$root/target"
        fi
    ) 9> "$cache/$1.lock"
    export PATH=$root/bin:$PATH
}

# need_programs: what the tests run. With the examples, cargo builds the dependencies with the
# features they have under `cargo test`, and not a second time without.
need_programs() {
    cargo build --quiet --workspace --bins --examples
}
