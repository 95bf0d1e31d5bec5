"""How quick the function is, and whether it stays as small as it was: the built `bootstrap`, with events
through the Runtime API, and a bucket on the server that tests/with_s3.py started.

usage: with_s3.py python function.py BOOTSTRAP COMMAND PLUGINS DEMO [--starts N] [--swaps N]

Prints a table in Markdown. Times are from the start of the process to its answer to a first S3 event, for
a document of 100 entries; memory is the most that the process had in use (`ru_maxrss`).
"""

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import boto3

arguments = argparse.ArgumentParser()
for name in ("bootstrap", "command", "plugins", "demo"):
    arguments.add_argument(name, type=pathlib.Path)
arguments.add_argument("--starts", type=int, default=11)
arguments.add_argument("--swaps", type=int, default=200)
given = arguments.parse_args()
s3 = boto3.client("s3")
bucket = os.environ["SPOTIFY_ETL_TEST_BUCKET"]
plugins = {file.name: file.read_bytes() for file in sorted(given.plugins.glob("*.wasm"))}


class RuntimeApi(http.server.BaseHTTPRequestHandler):
    """Lambda's Runtime API, for one function at a time."""

    protocol_version = "HTTP/1.1"
    waiting, answered = queue.Queue(), queue.Queue()

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # A function that was ended asked for one more event.

    def do_GET(self):
        event = self.waiting.get()
        deadline = str(int((time.time() + 60) * 1000))
        self.reply(200, json.dumps(event).encode(), [
            ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
            ("lambda-runtime-deadline-ms", deadline),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:123456789012:function:f"),
            ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"),
        ])

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.answered.put((time.perf_counter(), self.path, body))
        self.reply(202)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()


class Function:
    """A function on a store of its own."""

    stores = 0

    def __init__(self, program):
        Function.stores += 1
        self.prefix = f"bench/{os.getpid()}/{Function.stores}/"
        for name, content in plugins.items():
            self.put(f"plugins/{name}", content)
        self.program = program

    def put(self, key, content):
        s3.put_object(Bucket=bucket, Key=self.prefix + key, Body=content)

    def start(self):
        environment = dict(
            os.environ,
            AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{server.server_port}",
            AWS_LAMBDA_FUNCTION_NAME="bench",
            AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512",
            AWS_LAMBDA_FUNCTION_VERSION="1",
            AWS_LAMBDA_LOG_STREAM_NAME="stream",
            AWS_LAMBDA_LOG_GROUP_NAME="group",
            SPOTIFY_ETL_STORE=f"s3://{bucket}/{self.prefix.rstrip('/')}",
        )
        self.started = time.perf_counter()
        self.process = subprocess.Popen([self.program], env=environment, stdout=subprocess.DEVNULL)

    def wake(self, key):
        """Sends what S3 says of a new object. Gives the seconds since the start at the answer."""
        place = {"bucket": {"name": bucket}, "object": {"key": self.prefix + key, "size": len(hundred)}}
        RuntimeApi.waiting.put({"Records": [{"eventSource": "aws:s3", "s3": place}]})
        at, path, body = RuntimeApi.answered.get(timeout=120)
        assert path.endswith("/response"), body
        return at - self.started

    def memory(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    def end(self):
        """Gives the most memory it had, in MiB, and the processor time it took, in seconds."""
        self.process.terminate()
        _, _, used = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        # The runtime asked for one more event, which nobody else may get.
        RuntimeApi.waiting.put({})
        time.sleep(0.05)
        while not RuntimeApi.waiting.empty():
            RuntimeApi.waiting.get_nowait()
        return used.ru_maxrss / 1024, used.ru_utime + used.ru_stime

    def count(self, prefix):
        return len(s3.list_objects_v2(Bucket=bucket, Prefix=self.prefix + prefix).get("Contents", []))


def document():
    """A playlist of 100 entries: those of the demo, twice, with other ids."""
    text = given.demo.read_text()
    first, second = json.loads(text), json.loads(text.replace('"id": "', '"id": "x'))
    for page, offset in ((first, 0), (second, 50)):
        tracks = page["items"] if "items" in page else page["tracks"]["items"]
        assert len(tracks if isinstance(tracks, list) else tracks["items"]) == 50
    return json.dumps([first, second], indent=2).encode()


def first_answer(function, week):
    key = f"raw_data/to_process/bench_2026-07-{1 + week:02}_06-00-00.json"
    function.put(key, hundred)
    function.start()
    seconds = function.wake(key)
    assert function.count("transformed_data/") == 5 * (week + 1) and function.count("raw_data/to_process/") == 0
    return seconds, *function.end()


def starts(what, program, before=lambda: None):
    function, all_of_them = Function(program), []
    # The first week of a store is not like the others: its tables are new.
    first_answer(function, 0)
    for week in range(given.starts):
        before()
        all_of_them.append(first_answer(function, week + 1))
    seconds, memory, processor = (statistics.median(column) for column in zip(*all_of_them))
    print(f"| {what} | {seconds * 1000:.0f} ms | {processor * 1000:.0f} ms | {memory:.0f} MiB |", flush=True)


def with_custom_section(component, number):
    """The same plugin as another file: a custom section at its end says nothing."""
    content = b"\x05bench" + number.to_bytes(4, "little")
    return component + b"\x00" + bytes([len(content)]) + content


def swaps(program):
    function = Function(program)
    function.start()
    wanted, song = [given.swaps // 10, given.swaps // 2, given.swaps], plugins["song.wasm"]
    found = []
    for number in range(1, given.swaps + 1):
        function.put("plugins/song.wasm", with_custom_section(song, number))
        function.wake("plugins/song.wasm")
        key = f"raw_data/to_process/bench_2026-07-06_06-{number // 60:02}-{number % 60:02}.json"
        function.put(key, hundred)
        function.wake(key)
        if number in wanted:
            found.append(f"{function.memory():.0f} MiB after {number}")
    assert function.count("lineage/") == given.swaps
    last = json.loads(s3.get_object(Bucket=bucket, Key=function.prefix + "plugins/history/song/"
        + hashlib.sha256(with_custom_section(song, given.swaps)).hexdigest() + ".json")["Body"].read())
    assert last["name"] == "song"
    function.end()
    print("\nmemory in use with a plugin swapped again and again, each time with a document: " + ", ".join(found))


hundred = document()
cache = pathlib.Path("/tmp/spotify-etl")
with tempfile.TemporaryDirectory() as folder:
    zipped = pathlib.Path(folder)
    shutil.copy(given.bootstrap, zipped / "bootstrap")
    compiled = [given.command, "plugin", "compile", "--to", zipped / "compiled", *given.plugins.glob("*.wasm")]
    subprocess.run(compiled, check=True, stdout=subprocess.DEVNULL)
    size = sum(file.stat().st_size for file in (zipped / "compiled").iterdir())
    print(f"document {len(hundred) / 1e3:.0f} KB, bootstrap {given.bootstrap.stat().st_size / 1e6:.1f} MB, "
        f"code of {len(plugins)} plugins {size / 1e6:.1f} MB\n")
    print("| first answer, from the start of the process | time | processor | memory |\n|---|---|---|---|")
    clear = lambda: shutil.rmtree(cache, ignore_errors=True)
    starts("with compiled code in the zip", zipped / "bootstrap", clear)
    starts("compiled before, by this environment", given.bootstrap)
    starts("with nothing compiled", given.bootstrap, clear)
    if given.swaps:
        swaps(zipped / "bootstrap")
sys.stdout.flush()
os._exit(0)
