"""The plugin in Python: built, and held to what the one in Rust gives.

Builds plugins/artist-python with componentize-py, and takes every fixture to its table with that plugin
alone: not one byte may be another than the golden one, nor one skip. It has to declare the same table and
the same `reads`; to call malformed, handed over without the host, what the host refuses at the door; and
where it may not be compiled for its size, as in a function, the host has to say so in a sentence that names
it. Ends with 1 at the first difference.

usage: python_plugin.py COMMAND PLUGINS FIXTURES GOLDEN
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import types

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "plugins/artist-python"
TOOL = [pathlib.Path(sys.executable).parent / "componentize-py", "--wit-path", REPOSITORY / "wit", "--world", "plugin"]
# What a function of 512 MiB compiles, as the host's `Limits::of_function` has it.
FUNCTION_MAX = "compile_bytes=2894290"


def main(command, plugins, fixtures, golden):
    fixtures, golden = pathlib.Path(fixtures), pathlib.Path(golden)
    with tempfile.TemporaryDirectory() as folder:
        desk = pathlib.Path(folder)
        (desk / "plugins").mkdir()
        plugin = desk / "plugins/artist.wasm"
        built([*TOOL, "componentize", "--python-path", SOURCE, "app", "--output", plugin])
        described = inspected(command, desk, plugin)
        in_rust = inspected(command, desk, pathlib.Path(plugins, "artist.wasm"))
        for part in ("tables", "reads"):
            assert described[part] == in_rust[part], f"other {part}\n{described[part]}\n{in_rust[part]}"
        skips = compare(run(command, desk, "store", fixtures), desk / "store", fixtures, golden)
        refused = malformed(desk, fixtures.parent / "refused")
        too_large(run(command, desk, "function", fixtures, "--limit", FUNCTION_MAX))
    print(
        f"{len(list(fixtures.glob('*.json')))} fixtures give the golden artists and {skips} skips by a plugin in Python of "
        f"{described['bytes'] / 1e6:.1f} MB, {refused} texts without entries are malformed, and a function of 512 MiB refuses it by name"
    )


def built(tool):
    ran = subprocess.run(tool, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert ran.returncode == 0, f"componentize-py could not do it:\n{ran.stdout}"


def spotify_etl(command, desk, *arguments):
    # Compiled once for all that is asked of it: that is what takes the time.
    line = [command, *arguments, "--cache-dir", desk / "cache", "--log", "error", "--json"]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ran.stdout, f"{' '.join(map(str, line))}: nothing but\n{ran.stderr}"
    return json.loads(ran.stdout)


def inspected(command, desk, plugin):
    return spotify_etl(command, desk, "plugin", "inspect", plugin)


def run(command, desk, store, fixtures, *more):
    place = ("--store", desk / store, "--plugins", desk / "plugins", "--extracted-at", "2026-07-06T06:00:00Z")
    return spotify_etl(command, desk, "run", "--from", fixtures, *place, *more)


def compare(report, store, fixtures, golden):
    """Every fixture's table and skips with the golden ones. Gives the number of skips."""
    by_name = {document["document"]: document for document in report["documents"]}
    landed = {pathlib.Path(one["source"]).stem: one["document"] for one in report["imports"] if one["status"] == "landed"}
    expected = {path.stem for path in fixtures.glob("*.json")}
    assert landed.keys() == expected, f"not taken: {expected - landed.keys()}"
    count = 0
    for stem, name in landed.items():
        document = by_name[name]
        assert document["status"] == "stored", f"{stem}: {document['problems']}"
        skips = "".join(f"{skip['position']} {skip['reason']}\n" for skip in document["skips"])
        same(f"{stem}/skipped.txt", skips.encode(), golden)
        [table] = document["tables"]
        same(f"{stem}/artist.csv", (store / table["key"]).read_bytes(), golden)
        count += len(document["skips"])
    return count


def same(name, found, golden):
    expected = (golden / name).read_bytes()
    assert found == expected, f"{name}\n--- expected\n{expected.decode()}--- found\n{found.decode(errors='replace')}"


def malformed(desk, refused):
    """Hands the plugin, as Python that it is, texts that the host lets no plugin have. Gives their number."""
    built([*TOOL, "bindings", desk / "bindings"])
    sys.path[:0] = [str(desk / "bindings"), str(SOURCE)]
    sys.dont_write_bytecode = True
    import app

    count = 0
    for path in sorted(refused.glob("*.json")):
        try:
            page = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue  # Pages are Unicode, whatever happens.
        try:
            app.Transform().extract(types.SimpleNamespace(pages=[page]))
        except app.Err as error:
            assert isinstance(error.value, app.Failure_Malformed), f"{path.name}: {error.value}"
            count += 1
        else:
            raise AssertionError(f"{path.name} is taken for a playlist")
    assert count, f"{refused} has no texts"
    return count


def too_large(report):
    """Where the host may not compile so much it says so, and every document waits."""
    [plugin] = report["plugins"]
    problem = plugin["problem"] or {"message": "nothing"}
    sentence = problem["message"]
    is_named = plugin["name"] == "artist" and plugin["status"] == "refused" and problem["plugin"] == "artist"
    assert is_named and "no more than 2.8 MiB are compiled here" in sentence, f"for its size the host says {sentence}"
    assert report["exit_status"] == 1 and {document["status"] for document in report["documents"]} == {"waiting"}, report


main(*sys.argv[1:])
