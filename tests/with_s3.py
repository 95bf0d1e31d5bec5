"""Runs a command with an S3 server beside it: moto, which keeps conditional writes, and has the other
services that a function asks.

usage: with_s3.py COMMAND [ARGUMENT...]

The command finds the server by the variables that all AWS programs read, and a bucket on it in
SPOTIFY_ETL_TEST_BUCKET; a topic and the queue that subscribed to it in SPOTIFY_ETL_TEST_TOPIC and
SPOTIFY_ETL_TEST_QUEUE.
"""

import logging
import os
import subprocess
import sys

import boto3
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler

BUCKET = "test-bucket"
REGION = "eu-west-1"

logging.getLogger("werkzeug").setLevel(logging.ERROR)
# Connections stay open between requests, as those to S3 do.
WSGIRequestHandler.protocol_version = "HTTP/1.1"
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
topic = boto3.client("sns", region_name=REGION).create_topic(Name="alarms")["TopicArn"]
queue = boto3.client("sqs", region_name=REGION).create_queue(QueueName="told")["QueueUrl"]
boto3.client("sns", region_name=REGION).subscribe(
    TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:told"
)
os.environ.update(SPOTIFY_ETL_TEST_TOPIC=topic, SPOTIFY_ETL_TEST_QUEUE=queue)
status = subprocess.run(sys.argv[1:]).returncode
server.stop()
sys.exit(status)
