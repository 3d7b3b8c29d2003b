# Owns the dependencies of the integration tests outside of this clone: Debian's packages and Python
# environments, installed if they are missing. Sourced; it sets `cache`, and cargo's target folder.
#
# A test that is called with `--prepare` only installs its dependencies. `.ci/run` does that for all
# of them while it compiles.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/emr-etl-guard
clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
mkdir -p "$cache"
if [[ -z ${CARGO_TARGET_DIR:-} ]]; then
    export CARGO_TARGET_DIR=$cache/target
    # Cargo compares the times of files. A clone at another path, whose files are older than what
    # was built last, would be tested with the code of that other clone.
    if [[ -d $CARGO_TARGET_DIR && $(cat "$CARGO_TARGET_DIR/clone" 2> /dev/null) != "$clone" ]]; then
        (cd "$clone" && cargo clean --quiet --workspace) || rm -rf "$CARGO_TARGET_DIR"
    fi
    mkdir -p "$CARGO_TARGET_DIR"
    printf '%s' "$clone" > "$CARGO_TARGET_DIR/clone"
fi

# need_packages PROBE:PACKAGE…: a probe is a command, or a file by its whole path; if it is missing,
# Debian's package is installed, as root.
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
        # One at a time: apt waits for another process that installs, but not for one that updates.
        flock 9
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 install --yes \
            --no-install-recommends "${missing[@]}" > /dev/null 9>&-
    ) 9> "$cache/apt.lock"
}

# update_packages: updates apt's lists, unless that was done in the last hour.
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

# need_venv NAME REQUIREMENTS: sets `venv` to a Python environment with the packages in the file.
need_venv() {
    local key
    if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
        need_packages "/no/probe:python3-venv"
    fi
    # A separate folder for each list of packages and Python version, so that a change of either
    # never uses an old environment.
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

# need_cargo_tool NAME VERSION [OPTION…]: a program without a prebuilt binary, compiled from its
# source without optimisation, since it runs once, with these options of `cargo install`. Its folder
# is added to PATH.
need_cargo_tool() {
    local root=$cache/tools-$1-$2
    (
        flock 9
        if [[ ! -x $root/bin/$1 ]]; then
            # In a target folder of its own, so that its dependencies do not mix with ours.
            cargo install "$1" --version "$2" --locked --debug --quiet --root "$root" \
                --target-dir "$root/target" "${@:3}"
            rm -rf "$root/target"
        fi
    ) 9> "$cache/$1.lock"
    export PATH=$root/bin:$PATH
}

# need_programs: builds the programs that the tests run. With the examples, cargo builds the
# dependencies with the same features as under `cargo test`, and not a second time without.
need_programs() {
    cargo build --quiet --workspace --bins --examples
}
