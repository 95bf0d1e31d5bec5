"""History at volume: `replay` and `plugin diff` over generated playlists, beside the same JSON in polars,
DuckDB and pandas.

usage: volume.py COMMAND PLUGINS [--documents 1000] [--markets] [--rounds 3]

Each runs as a process of its own, all in turn, as often as --rounds says; medians are shown. What this
program does is more: five tables where the others make three, lineage, and files that survive a crash.
"""

import argparse
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

import documents

parser = argparse.ArgumentParser()
parser.add_argument("command", type=pathlib.Path)
parser.add_argument("plugins", type=pathlib.Path)
parser.add_argument("--documents", type=int, default=1000)
parser.add_argument("--markets", action="store_true")
parser.add_argument("--rounds", type=int, default=3)
given = parser.parse_args()
desk = pathlib.Path("target/bench").resolve()
name = f"{given.documents}{'-markets' if given.markets else ''}"
raw, landed = desk / f"raw-{name}", desk / f"landed-{name}"
command = str(given.command.resolve())
peers = str(pathlib.Path(__file__).with_name("peers.py"))


def prepare():
    """The playlists, as files and as documents of a store that have yet to be taken to tables."""
    if not raw.exists():
        documents.write(raw, given.documents, 100, given.markets)
    if not landed.exists():
        begun = desk / "begun"
        shutil.rmtree(begun, ignore_errors=True)
        subprocess.run([command, "import", "--store", begun, raw], check=True, stdout=subprocess.DEVNULL)
        (begun / "raw_data/to_process").rename(begun / "raw_data/processed")
        begun.rename(landed)


def measured(arguments):
    """Seconds by the clock, of the processors as user and as system, and the most memory in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return time.perf_counter() - started, used.ru_utime, used.ru_stime, used.ru_maxrss / 1024


def store():
    """A store with nothing but documents and plugins: these are only linked, as nothing changes them."""
    place = desk / "store"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(landed, place, copy_function=os.link)
    subprocess.run([command, "init", "--store", place, "--from", given.plugins], check=True, stdout=subprocess.DEVNULL)
    return place


def replay(*options):
    return lambda: measured([command, "replay", "--store", store(), *options])


def diff():
    place = store()
    candidate = desk / "song.wasm"
    # The same plugin as another file: a custom section at its end says nothing.
    candidate.write_bytes((given.plugins / "song.wasm").read_bytes() + b"\x00\x06\x05bench")
    return measured([command, "plugin", "diff", "--store", place, candidate])


def peer(tool):
    def run():
        out = desk / "out"
        shutil.rmtree(out, ignore_errors=True)
        return measured([sys.executable, peers, tool, raw, out])
    return run


prepare()
contenders = {
    "polars": peer("polars"), "DuckDB": peer("duckdb"), "pandas": peer("pandas"),
    "replay, CSV": replay(), "replay, one job": replay("--jobs", "1"), "plugin diff": diff,
}
found = {what: [] for what in contenders}
for _ in range(given.rounds):
    for what, run in contenders.items():
        found[what].append(run())
size = sum(file.stat().st_size for file in raw.iterdir()) / 1e6
print(f"{given.documents} documents of 100 entries, {size:.0f} MB; {os.cpu_count()} processors, {platform.machine()}\n")
print("| | time | user | system | memory | user, to polars' |\n|---|---|---|---|---|---|")
medians = {what: [statistics.median(column) for column in zip(*rows)] for what, rows in found.items()}
for what, (clock, user, system, memory) in medians.items():
    ratio = user / medians["polars"][1]
    print(f"| {what} | {clock:.2f} s | {user:.2f} s | {system:.2f} s | {memory:.0f} MiB | {ratio:.2f} |")
