#!/usr/bin/env bash
# The plugin author's guide, followed to the letter: its example in a folder of its own, built,
# inspected, run, and tested against the tables that came out.
set -euo pipefail
command=$(realpath "$1")
repository=$(realpath "$(dirname "$0")/../..")
fixture=demo_2026-07-06_06-00-00
desk=$(mktemp -d)
trap 'rm -rf "$desk"' EXIT
mkdir -p "$desk"/{src,tests/fixtures,tests/golden/$fixture}
python3 - "$repository" "$desk" <<'PYTHON'
import pathlib, re, sys
repository, desk = map(pathlib.Path, sys.argv[1:])
guide = (repository / "plugins/sdk/README.md").read_text()
block = lambda kind, number: re.findall(rf"```{kind}\n(.*?)```", guide, re.S)[number]
manifest = block("toml", 0).replace("../sdk", str(repository / "plugins/sdk"))
(desk / "Cargo.toml").write_text(manifest + "\n[workspace]\n")
(desk / "src/lib.rs").write_text(block("rust", 0))
(desk / "tests/golden.rs").write_text(block("rust", 1))
PYTHON
cp "$repository/Cargo.lock" "$repository/rust-toolchain.toml" "$desk"
cd "$desk"
export CARGO_TARGET_DIR=$repository/target/guide
cargo build --quiet --release --target wasm32-wasip2
built=$CARGO_TARGET_DIR/wasm32-wasip2/release
"$command" plugin inspect "$built/preview.wasm" >/dev/null
cp "$repository/tests/fixtures/playlists/$fixture.json" tests/fixtures
"$command" run --from tests/fixtures --store store --plugins "$built" >/dev/null
cp store/transformed_data/preview_data/*/*.csv "tests/golden/$fixture/preview.csv"
cargo test --quiet --release
echo "the guide's example builds, runs and passes its test"
