"""Documents to tables, beside the same JSON in polars, DuckDB and pandas: one of 100 entries, one of 10,000, and
history at volume with `replay` and `plugin diff`.

usage: volume.py COMMAND PLUGINS [--documents 1000] [--markets] [--rounds 3] [--short]

Each runs as a process of its own, all in turn, as often as --rounds says; medians are shown, and how they are to
polars'. What this program does is more: five tables where the others make three, lineage, and files that survive a
crash. --short is for every day: 200 documents, without pandas.
"""

import argparse
import functools
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("command", type=pathlib.Path)
parser.add_argument("plugins", type=pathlib.Path)
parser.add_argument("--documents", type=int, default=1000)
parser.add_argument("--markets", action="store_true")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--short", action="store_true")
given = parser.parse_args()
if given.short:
    given.documents = 200
desk = pathlib.Path("target/bench").resolve()
command = str(given.command.resolve())
peers = str(pathlib.Path(__file__).with_name("peers.py"))
# ext4 is slow to make files for minutes after many were deleted: what a round leaves goes at the end.
leavings = desk / f"leavings-{os.getpid()}"
numbers = iter(range(10**6))


def fresh():
    leavings.mkdir(parents=True, exist_ok=True)
    return leavings / str(next(numbers))


def playlists(count, entries):
    """Playlists as files."""
    raw = desk / f"raw-{count}-{entries}{'-markets' if given.markets else ''}"
    if not raw.exists():
        # By itself: a process that has much memory hands the figure on to those that it starts.
        generator = [sys.executable, pathlib.Path(__file__).with_name("documents.py"), raw, str(count), "--entries", str(entries)]
        subprocess.run(generator + ["--markets"] * given.markets, check=True, stdout=subprocess.DEVNULL)
    return raw


@functools.cache
def history(raw):
    """The same as documents of a store that have yet to be taken to tables, landed by the command that is measured."""
    landed = fresh()
    subprocess.run([command, "import", "--store", landed, raw], check=True, stdout=subprocess.DEVNULL)
    (landed / "raw_data/to_process").rename(landed / "raw_data/processed")
    return landed


def measured(arguments, reads):
    """Seconds by the clock, of the processors as user and as system, and the most memory in MiB. What a process
    reads, everything in a folder, is in memory before."""
    for file in reads.rglob("*.json"):
        file.read_bytes()
    os.sync()
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return time.perf_counter() - started, used.ru_utime, used.ru_stime, used.ru_maxrss / 1024


def store(landed=None, share=1):
    """A store with plugins and, if any are given, documents or a share of them, which are only linked."""
    place = fresh()
    subprocess.run([command, "init", "--store", place, "--from", given.plugins], check=True, stdout=subprocess.DEVNULL)
    if landed:
        files = sorted((landed / "raw_data/processed").rglob("*.json"))
        for file in files[:int(len(files) * share)]:
            to = place / file.relative_to(landed)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.hardlink_to(file)
    return place


def run(raw):
    file = next(raw.iterdir())
    return lambda: measured([command, "run", "--store", store(), "--from", file], raw)


def replay(raw, *options, share=1):
    return lambda: measured([command, "replay", "--store", store(history(raw), share), *options], history(raw))


def diff(raw):
    def run():
        candidate = desk / "song.wasm"
        # The same plugin as another file: a custom section at its end says nothing.
        candidate.write_bytes((given.plugins / "song.wasm").read_bytes() + b"\x00\x06\x05bench")
        return measured([command, "plugin", "diff", "--store", store(history(raw)), candidate], history(raw))
    return run


def peer(tool, raw):
    return lambda: measured([sys.executable, peers, tool, raw, fresh()], raw)


def table(title, contenders, rounds):
    found = {what: [] for what in contenders}
    for _ in range(rounds):
        for what, contender in contenders.items():
            found[what].append(contender())
    medians = {what: [statistics.median(column) for column in zip(*rows)] for what, rows in found.items()}
    print(f"\n{title}\n\n| | time | user | user + system | memory | to polars': time | user | user + system | memory |")
    print("|---|---|---|---|---|---|---|---|---|")
    clock_, user_, system_, memory_ = medians["polars"]
    for what, (clock, user, system, memory) in medians.items():
        ratios = clock / clock_, user / user_, (user + system) / (user_ + system_), memory / memory_
        shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {what} | {clock:.2f} s | {user:.2f} s | {user + system:.2f} s | {memory:.0f} MiB | {shown} |", flush=True)
    return medians


tools = ["polars", "duckdb"] if given.short else ["polars", "duckdb", "pandas"]
processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
print(f"{os.cpu_count()} processors ({platform.machine()}, {processor}), medians of {given.rounds} rounds")
try:
    one, large, many = playlists(1, 100), playlists(1, 10_000), playlists(given.documents, 100)
    # Compiled now, and kept.
    run(one)()
    for title, raw in {"One document of 100 entries": one, "One document of 10,000 entries": large}.items():
        table(title, {"run": run(raw)} | {tool: peer(tool, raw) for tool in tools}, max(given.rounds, 5))
    size = sum(file.stat().st_size for file in many.iterdir()) / 1e6
    found = table(
        f"{given.documents} documents of 100 entries, {size:.0f} MB",
        {
            "replay, CSV": replay(many), "replay, one job": replay(many, "--jobs", "1"),
            "replay, half of them": replay(many, share=0.5), "replay, Parquet": replay(many, "--format", "parquet"), "plugin diff": diff(many),
        } | {tool: peer(tool, many) for tool in tools},
        given.rounds,
    )
    whole, single, half = (found[what][0] for what in ["replay, CSV", "replay, one job", "replay, half of them"])
    print(f"\ntwice the documents: {whole / half:.2f} times as long; two jobs: {single / whole:.2f} times as fast as one")
finally:
    shutil.rmtree(leavings, ignore_errors=True)
