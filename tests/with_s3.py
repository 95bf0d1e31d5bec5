"""Runs a command with an S3 server beside it: moto, which keeps conditional writes.

usage: with_s3.py COMMAND [ARGUMENT...]

The command finds the server by the variables that all AWS programs read, and a bucket on it in
SPOTIFY_ETL_TEST_BUCKET.
"""

import logging
import os
import subprocess
import sys

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "test-bucket"
REGION = "eu-west-1"

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
os.environ.update(
    AWS_ENDPOINT_URL=f"http://{host}:{port}",
    AWS_REGION=REGION,
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    SPOTIFY_ETL_TEST_BUCKET=BUCKET,
)
boto3.client("s3", region_name=REGION).create_bucket(
    Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
)
status = subprocess.run(sys.argv[1:]).returncode
server.stop()
sys.exit(status)
