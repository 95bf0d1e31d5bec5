#!/usr/bin/env bash
# The plugin author's guide, followed to the letter: its walk from `plugin new` to `plugin rollback`, typed
# as it stands there, over a store with some playlists; then its example in a folder of its own, built,
# inspected, run, and tested against the tables that came out.
set -euo pipefail
command=$(realpath "$1")
repository=$(realpath "$(dirname "$0")/../..")
plugins=$repository/target/wasm32-wasip2/plugin
fixture=demo_2026-07-06_06-00-00
desk=$(mktemp -d)
trap 'rm -rf "$desk"' EXIT
mkdir -p "$desk"/bin "$desk"/walk "$desk"/example/{src,tests/fixtures,tests/golden/$fixture}
ln -s "$command" "$desk/bin/spotify-etl"
export PATH=$desk/bin:$PATH
python3 - "$repository" "$desk" <<'PYTHON'
import pathlib, re, sys
repository, desk = map(pathlib.Path, sys.argv[1:])
guide = (repository / "plugins/sdk/README.md").read_text()
block = lambda kind, number: re.findall(rf"```{kind}\n(.*?)```", guide, re.S)[number]
manifest = block("toml", 0).replace("../sdk", str(repository / "plugins/sdk"))
(desk / "example/Cargo.toml").write_text(manifest + "\n[workspace]\n")
(desk / "example/src/lib.rs").write_text(block("rust", 0))
(desk / "example/tests/golden.rs").write_text(block("rust", 1))
walk = guide[guide.index("## From nothing"):guide.index("## One, whole")]
blocks = re.findall(r"```\n(.*?)```", walk, re.S)
# The change that the guide leaves to its reader: a position is counted from 0, in another version.
change = """sed -i 's/^version = .*/version = "0.2.0"/' Cargo.toml
sed -i 's/position: entry.position.into()/position: i64::from(entry.position) - 1/' src/lib.rs
cargo build --release --target wasm32-wasip2
"""
blocks = [change + block if block.startswith("spotify-etl plugin diff") else block for block in blocks]
(desk / "walk.sh").write_text("set -euxo pipefail\n" + "".join(blocks))
PYTHON

cd "$desk/walk"
spotify-etl init --from "$plugins" >/dev/null
spotify-etl run --from "$repository/tests/fixtures/history" >/dev/null
document=$(spotify-etl query --csv "SELECT max(document) FROM snapshot" | tail -1)
sed -i "s/DOCUMENT/$document/" "$desk/walk.sh"
# Built where the last one was, so that only the plugin itself is built anew.
mkdir -p "$repository/target/guide" added_by
ln -s "$repository/target/guide" added_by/target
sed -i 's/^spotify-etl plugin new .*/&-made \&\& cp -R added_by-made\/. added_by\//' "$desk/walk.sh"
bash "$desk/walk.sh" > "$desk/walk.log" 2>&1 || { cat "$desk/walk.log"; exit 1; }
for said in "14 documents compared, 12 with other rows" "added_by 0.1.0 (.*) is the active version, it was"; do
    grep -q "$said" "$desk/walk.log" || { cat "$desk/walk.log"; echo "the walk never said: $said"; exit 1; }
done
(cd added_by && cargo test --quiet --release > "$desk/test.log" 2>&1) || { cat "$desk/test.log"; exit 1; }
echo "the guide's walk, from a new plugin to its rollback, goes as it is written"

cd "$desk/example"
cp "$repository/Cargo.lock" "$repository/rust-toolchain.toml" .
export CARGO_TARGET_DIR=$repository/target/guide
cargo build --quiet --release --target wasm32-wasip2
built=$CARGO_TARGET_DIR/wasm32-wasip2/release
spotify-etl plugin inspect "$built/preview.wasm" >/dev/null
cp "$repository/tests/fixtures/playlists/$fixture.json" tests/fixtures
mkdir only && cp "$built/preview.wasm" only
spotify-etl run --from tests/fixtures --store store --plugins only >/dev/null
cp store/transformed_data/preview_data/*/*.csv "tests/golden/$fixture/preview.csv"
cargo test --quiet --release
echo "the guide's example builds, runs and passes its test"
