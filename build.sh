#!/usr/bin/env bash
# Builds, runs and checks the project. `./build.sh help` says how.
set -euo pipefail
cd "$(dirname "$0")"

profile=release
wasm=wasm32-wasip2
export CARGO_TARGET_DIR=$PWD/target
built=target/$wasm/plugin
plugins=(-p album -p artist -p song -p snapshot)
demo=tests/fixtures/playlists/demo_2026-07-06_06-00-00.json

help() {
    cat <<'HELP'
./build.sh run          build, and take a playlist of 50 made-up songs all the way to ./data
./build.sh test         everything the project checks about itself
./build.sh test --all   the same, and the slower checks with heavy tools
./build.sh build        the command and the plugins
./build.sh lambda       target/lambda/bootstrap.zip, to be deployed with host/src/bin/bootstrap/template.yaml
./build.sh lambda arm64 the same for Lambda's other processor (Python brings the cross compiler)
./build.sh dist         target/dist: archives, zips and plugins, for whoever has no Rust
./build.sh bench        how fast it is, as tables (bench --short: every day; bench --documents 10000: 2 GB of history)
./build.sh install      the command to where cargo puts programs, the plugins beside it
HELP
}

say() { printf '\n== %s\n' "$*"; }

need() {
    command -v "$1" >/dev/null || { echo "build.sh: no $1 here: $2" >&2; exit 2; }
}

target() {
    need cargo "install Rust with rustup, https://rustup.rs"
    need cc "install a C compiler (Debian: apt install gcc, macOS: xcode-select --install)"
    # The toolchain file names the toolchain; the target may be missing from it.
    if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$wasm" ]; then
        need rustup "the target $wasm is missing, and rustup adds it"
        rustup target add "$wasm"
    fi
}

build() {
    target
    cargo build --locked --profile "$profile" -p spotify-etl
    cargo build --locked --profile plugin --target "$wasm" "${plugins[@]}"
}

run() {
    build
    local command=target/$profile/spotify-etl
    say "spotify-etl init --store data --from $built"
    "$command" init --store data --from "$built"
    say "spotify-etl run --store data --from $demo"
    "$command" run --store data --from "$demo"
    cat <<NEXT

What to try next, with $command (or ./build.sh install):
    spotify-etl status
    spotify-etl run --from YOUR_PLAYLIST.json
    spotify-etl plugin inspect data/plugins/song.wasm
    head -3 data/transformed_data/song_data/*/*.csv
NEXT
}

test_all() {
    target
    say "format"
    cargo fmt --all --check
    say "clippy, warnings denied"
    cargo clippy --locked --profile "$profile" --workspace --exclude guests --all-targets -- -D warnings
    cargo clippy --locked --profile plugin --target "$wasm" "${plugins[@]}" -p guests --lib --examples -- -D warnings
    say "the command and the plugins, those of the tests too"
    # All of it at once: chosen one by one, packages are built again with other features.
    cargo build --locked --profile "$profile" --all-targets
    cargo build --locked --profile plugin --target "$wasm" "${plugins[@]}" -p guests --lib --examples
    say "tests: unit, golden, components, hostile plugins, crashes, the command"
    [ -n "${SPOTIFY_ETL_SAMPLES:-}" ] || echo "skipped: real responses, as SPOTIFY_ETL_SAMPLES names no folder with some"
    # Most tests wait for a disk or a server for most of their time.
    RUST_TEST_THREADS=3 with_s3 cargo test --locked --profile "$profile"
    say "the tables for other programs, and the views' SQL"
    readers
    say "the deployment template"
    template
    say "documentation, links and all"
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --profile "$profile" --no-deps --document-private-items \
        -p spotify-etl -p spotify-etl-plugin "${plugins[@]}"
    if [ "${1:-}" = --all ]; then
        heavy
    else
        say "skipped: the checks with heavy tools (./build.sh test --all)"
    fi
    say "all checks passed"
}

# Runs a command with an S3 server beside it, where Python can have one.
with_s3() {
    if tools; then
        "$venv/bin/python" tests/with_s3.py "$@"
    else
        echo "skipped: the store on S3, as there is no Python with venv and pip for its server"
        "$@"
    fi
}

readers() {
    if tools; then
        "$venv/bin/python" tests/readers.py target/$profile/spotify-etl "$built" tests/fixtures/history
    else
        echo "skipped: there is no Python with venv and pip for sqlglot"
    fi
}

template() {
    if tools; then
        "$venv/bin/cfn-lint" host/src/bin/bootstrap/template.yaml
    else
        echo "skipped: there is no Python with venv and pip for cfn-lint"
    fi
}

venv=target/venv-tests

tools() {
    [ "$venv/installed" -nt tests/requirements.txt ] || {
        python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt && touch "$venv/installed"
    }
}

# The processor of this machine, as Lambda calls it.
here() {
    case $(uname -m) in
        x86_64) echo x86_64 ;;
        aarch64 | arm64) echo arm64 ;;
        *) echo "build.sh: Lambda has no $(uname -m)" >&2; exit 2 ;;
    esac
}

# Whether this machine builds for a processor without a cross compiler.
is_native() {
    [ "$1" = "$(here)" ] && [ "$(uname -s)" = Linux ]
}

# The name that a processor has for the compiler.
triple() {
    case $1 in
        x86_64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        *) echo "build.sh: Lambda has x86_64 and arm64, not $1" >&2; exit 2 ;;
    esac
}

# Builds both programs for a processor, and sets `programs` to where they are.
build_for() {
    local triple
    triple=$(triple "$1")
    if is_native "$1"; then
        programs=target/$profile
        cargo build --locked --profile "$profile" -p spotify-etl
        return
    fi
    need python3 "install Python 3.9 or newer, which brings the cross compiler"
    rustup target list --installed | grep -q "^$triple\$" || rustup target add "$triple"
    [ -x target/venv-zig/bin/cargo-zigbuild ] || {
        python3 -m venv target/venv-zig
        target/venv-zig/bin/pip install --quiet --disable-pip-version-check -r host/dist/requirements.txt
    }
    programs=target/$triple/$profile
    PATH=$PWD/target/venv-zig/bin:$PATH cargo zigbuild --locked --profile "$profile" --target "$triple.2.34" -p spotify-etl
}

# The functions' zip for a processor, as a file. The plugins' code goes with it where this machine can
# make it; otherwise a function compiles them when it starts.
zip_for() {
    local packed=target/lambda/$1 newest code
    build_for "$1"
    rm -rf "$packed"
    mkdir -p "$packed"
    cp "$programs/bootstrap" "$packed/bootstrap"
    if is_native "$1"; then
        strip "$packed/bootstrap"
        # Amazon Linux 2023 has glibc 2.34.
        newest=$(objdump -T "$packed/bootstrap" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
        if [ "$(printf '%s\nGLIBC_2.34\n' "$newest" | sort -V | tail -1)" != GLIBC_2.34 ]; then
            echo "build.sh: this system's C library is newer than Lambda's ($newest): build on Debian 12 or Amazon Linux 2023" >&2
            exit 2
        fi
        "$programs/spotify-etl" plugin compile --to "$packed/compiled" "$built"/*.wasm
        code=$(for file in "$packed"/compiled/*; do echo "$file=compiled/${file##*/}"; done)
    else
        "target/venv-zig/bin/python" -m ziglang objcopy --strip-all "$packed/bootstrap" "$packed/stripped" 2>/dev/null \
            && mv "$packed/stripped" "$packed/bootstrap" || rm -f "$packed/stripped"
        echo "without compiled plugins: they can only be made on $1"
        code=
    fi
    # shellcheck disable=SC2086
    python3 host/dist/pack.py "$2" "$packed/bootstrap=bootstrap" $code
    ls -l "$packed/bootstrap" | awk '{ printf "%s: %.1f MB\n", $NF, $5 / 1e6 }'
}

# The functions' zip, where the deployment template looks for it.
lambda() {
    need python3 "install Python 3, which packs the zip"
    build
    zip_for "${1:-$(here)}" target/lambda/bootstrap.zip
}

# All that somebody needs who has no Rust, for both processors.
dist() {
    need python3 "install Python 3, which packs the archives"
    build
    local version into=target/dist files processor
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
    rm -rf "$into"
    mkdir -p "$into"
    files=$(for file in "$built"/*.wasm; do echo "$file=spotify-etl-$version/share/spotify-etl/plugins/${file##*/}"; done)
    for processor in x86_64 arm64; do
        say "for $processor"
        zip_for "$processor" "$into/bootstrap-$processor.zip"
        # shellcheck disable=SC2086
        python3 host/dist/pack.py "$into/spotify-etl-$version-linux-$processor.tar.gz" $files \
            "$programs/spotify-etl=spotify-etl-$version/bin/spotify-etl" \
            "README.md=spotify-etl-$version/README.md" "LICENSE=spotify-etl-$version/LICENSE"
        sed "/^# Deploys/,/^# plugins/d; s|CodeUri: .*|CodeUri: bootstrap-$processor.zip|
            s|Default: x86_64|Default: $processor|; s|AllowedValues: \[x86_64, arm64\]|AllowedValues: [$processor]|" \
            host/src/bin/bootstrap/template.yaml > "$into/template-$processor.yaml"
    done
    cp "$built"/*.wasm "$into/"
    (cd "$into" && sha256sum -- * > SHA256SUMS && cat SHA256SUMS)
}

# How fast it is: tables in Markdown.
bench() {
    build
    tools || { echo "build.sh: the bench needs Python with venv and pip, for its S3 server" >&2; exit 2; }
    say "the function"
    "$venv/bin/python" tests/with_s3.py "$venv/bin/python" tests/bench/function.py \
        target/$profile/bootstrap target/$profile/spotify-etl "$built" "$demo"
    say "one document, step by step"
    [ -d target/bench/steps ] || python3 tests/bench/documents.py target/bench/steps 40
    cargo bench --locked --profile "$profile" -p tests --bench document -- "$PWD/$built" "$PWD"/target/bench/steps/*.json
    say "documents to tables, and the same in other tools"
    python3 -m venv target/venv-bench
    target/venv-bench/bin/pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt
    target/venv-bench/bin/python tests/bench/volume.py target/$profile/spotify-etl "$built" "$@"
}

heavy() {
    say "heavy checks: a bucket, stopped at every operation"
    SPOTIFY_ETL_TEST_EVERY=1 with_s3 cargo test --locked --profile "$profile" -- crash
    # Every fault at every request where it is tried once; where the client tries again it waits, and
    # all of it takes half an hour, so there each request meets one or two of the seven faults.
    say "heavy checks: a bucket, with requests refused, lost, cut off or slowed down"
    SPOTIFY_ETL_TEST_EVERY=5 SPOTIFY_ETL_TEST_EVERY_LAST=1 with_s3 cargo test --locked --profile "$profile" -- wire
    say "heavy checks: documents and plugins changed by chance, for longer"
    SPOTIFY_ETL_TEST_SECONDS=300 cargo test --locked --profile "$profile" -p tests -- chance
    say "heavy checks: tables read back by pandas and DuckDB"
    need python3 "install Python 3.11 or newer"
    python3 -m venv target/venv
    target/venv/bin/pip install --quiet --disable-pip-version-check -r tests/heavy/requirements.txt
    target/venv/bin/python tests/heavy/read_back.py target/$profile/spotify-etl "$built" tests/fixtures/playlists
    say "heavy checks: the table rules written a second time, over documents made by chance"
    target/venv/bin/python tests/heavy/reference.py target/$profile/spotify-etl "$built" tests/fixtures/playlists
    say "heavy checks: the catalog's tables and views, in Hive, as Trino's SQL in DuckDB, and at home"
    target/venv/bin/python tests/heavy/views.py target/$profile/spotify-etl "$built" tests/fixtures/history host/src/catalog/QUESTIONS.md tests/fixtures/charts
    say "heavy checks: query, which loads only what a statement needs, over random statements"
    target/venv/bin/python tests/heavy/query_subset.py target/$profile/spotify-etl "$built" tests/fixtures
    say "heavy checks: text that tables break on, there and back"
    target/venv/bin/python tests/heavy/round_trip.py target/$profile/spotify-etl "$built"
    say "heavy checks: the plugin in Python, which has to give what the one in Rust gives"
    target/venv/bin/python tests/heavy/python_plugin.py target/$profile/spotify-etl "$built" tests/fixtures/playlists tests/golden
    say "heavy checks: the function on cargo-lambda's emulator"
    if tools; then
        "$venv/bin/python" tests/with_s3.py "$venv/bin/python" tests/heavy/emulator.py \
            target/venv/bin/cargo-lambda target/$profile/bootstrap "$built" "$demo"
    else
        echo "skipped: there is no Python with venv and pip for its S3 server"
    fi
    say "heavy checks: the plugin author's guide, followed to the letter"
    tests/heavy/guide.sh target/$profile/spotify-etl
}

install() {
    build
    cargo install --locked --profile "$profile" --path host --quiet
    local program
    program=$(dirname "$(cargo_bin)")
    mkdir -p "$program/share/spotify-etl/plugins"
    cp "$built"/*.wasm "$program/share/spotify-etl/plugins/"
    echo "spotify-etl is in $program/bin, its plugins in $program/share/spotify-etl/plugins"
}

cargo_bin() {
    echo "${CARGO_INSTALL_ROOT:-${CARGO_HOME:-$HOME/.cargo}}/bin"
}

case ${1:-help} in
    run) run ;;
    test) shift; test_all "$@" ;;
    build) build ;;
    lambda) shift; lambda "$@" ;;
    dist) dist ;;
    bench) shift; bench "$@" ;;
    install) install ;;
    help | -h | --help) help ;;
    *) help >&2; exit 2 ;;
esac
