"""Requests the encryption of every object as a script with boto3 would: one listing, and HEADs from
this number of threads.
"""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

endpoint, bucket, prefix, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    config=Config(max_pool_connections=threads, s3={"addressing_style": "path"}),
)


def encryption(key):
    return s3.head_object(Bucket=bucket, Key=key).get("ServerSideEncryption", "none")


pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
counts = Counter()
with ThreadPoolExecutor(threads) as pool:
    # Page by page, so that memory does not grow with the bucket.
    batch = []
    for key in keys:
        batch.append(key)
        if len(batch) == 1000:
            counts.update(pool.map(encryption, batch))
            batch.clear()
    counts.update(pool.map(encryption, batch))
print(sum(counts.values()), dict(counts))
