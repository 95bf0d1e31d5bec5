"""The function on cargo-lambda's emulator, with a bucket on the server that tests/with_s3.py started: from
an event of S3's to tables, a plugin that is none, and an event of no known kind.

usage: with_s3.py python emulator.py CARGO_LAMBDA BOOTSTRAP PLUGINS DEMO
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boto3

cargo_lambda, bootstrap, plugins, demo = sys.argv[1:]
bucket, prefix = os.environ["SPOTIFY_ETL_TEST_BUCKET"], f"emulator-{os.getpid()}/"
s3 = boto3.client("s3")
for file in pathlib.Path(plugins).glob("*.wasm"):
    s3.put_object(Bucket=bucket, Key=f"{prefix}plugins/{file.name}", Body=file.read_bytes())
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
emulator = subprocess.Popen(
    [cargo_lambda, "lambda", "watch", "--only-lambda-apis", "-A", "127.0.0.1", "-P", str(port)],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
for _ in range(200):
    time.sleep(0.05)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            break
function = subprocess.Popen([bootstrap], stdout=subprocess.DEVNULL, env=dict(
    os.environ,
    AWS_LAMBDA_RUNTIME_API=f"http://127.0.0.1:{port}/.rt",
    AWS_LAMBDA_FUNCTION_NAME="_",
    AWS_LAMBDA_FUNCTION_VERSION="1",
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512",
    SPOTIFY_ETL_STORE=f"s3://{bucket}/{prefix.rstrip('/')}",
))


def invoke(event):
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/_/invocations"
    request = urllib.request.Request(url, json.dumps(event).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        return json.load(refusal)


def created(key):
    place = {"bucket": {"name": bucket}, "object": {"key": prefix + key}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": place}


def keys(below):
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix + below).get("Contents", [])
    return [one["Key"][len(prefix):] for one in listed]


try:
    key = f"raw_data/to_process/{pathlib.Path(demo).name}"
    s3.put_object(Bucket=bucket, Key=prefix + key, Body=pathlib.Path(demo).read_bytes())
    answer = invoke(created(key))
    assert answer.get("exit_status") == 0, answer
    assert len(keys("transformed_data/")) == 5 and keys("raw_data/to_process/") == [], keys("")
    s3.put_object(Bucket=bucket, Key=prefix + "plugins/song.wasm", Body=b"no plugin")
    assert invoke(created("plugins/song.wasm"))["exit_status"] == 1
    assert keys("plugins/song.wasm.error.json")
    assert invoke({"source": "aws.ec2"})["errorType"] == "UnknownEvent"
    # The plugin is still broken, which a check says.
    assert "song" in invoke({"check": "store"})["problems"][0]
finally:
    function.kill()
    emulator.kill()
print("cargo-lambda's emulator: an event of S3's to 5 tables, a bad plugin named, an odd event refused")
