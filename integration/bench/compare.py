"""Runs the peers one after the other on one responder and prints the result of each, compared with
the bare client. Each must have requested every object.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

built, venv, objects, delay = (
    Path(sys.argv[1]),
    Path(sys.argv[2]),
    int(sys.argv[3]),
    int(sys.argv[4]),
)
here = Path(__file__).resolve().parent
# The same concurrency as the audit.
BUCKET, PREFIX, AT_ONCE = "acme-bench", "data/", 128
# A process for each object: a few are enough for a rate.
BY_PROCESS = min(objects, 20)

responder = subprocess.Popen(
    [built / "examples/bench-responder", "respond", str(objects), str(delay)],
    stdout=subprocess.PIPE,
    text=True,
)
port = responder.stdout.readline().strip()
endpoint = f"http://127.0.0.1:{port}"
folder = tempfile.TemporaryDirectory()
environment = {
    "PATH": f"{venv}/bin:/usr/bin:/bin",
    "HOME": folder.name,
    "AWS_ACCESS_KEY_ID": "AKIAGUARD",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL": endpoint,
    "EMR_ETL_GUARD_ALLOW_ENDPOINTS": endpoint,
}


def key(number):
    """An object's key, as in the responder."""
    return f"{PREFIX}run={number // max(1, -(-objects // 16)):02}/part-{number:08}"


def heads():
    """How many HEAD requests the responder has received so far."""
    with urllib.request.urlopen(f"{endpoint}/heads") as answer:
        return int(answer.read())


def run(name, command, number=objects, code=0, expect=None, more=None):
    """Runs a peer; returns objects per second, and per second of processor time."""
    asked_before = heads()
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with open(os.path.join(folder.name, "out"), "w+") as out:
        ended = subprocess.run(
            command,
            env={**environment, **(more or {})},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        out.seek(0)
        text = out.read()
    if ended.returncode != code:
        sys.exit(
            f"{name} ended with {ended.returncode}, not {code}:\n{text[-2000:]}\n{ended.stderr[-2000:]}"
        )
    if expect is not None and not expect(text):
        sys.exit(f"{name} did not see every object:\n{text[:2000]}")
    asked = heads() - asked_before
    if asked < number:
        sys.exit(f"{name} asked for {asked} heads of {number} objects")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return name, number / wall, number / max(processor, 0.001)


def all_peers():
    """Each in the way its users would do this."""
    yield run(
        "bare client",
        [built / "examples/bench-responder", "bare", port, str(objects), str(AT_ONCE)],
        expect=lambda text: f"of {objects} are" in text,
    )
    document = '"objects": %d,' % objects
    guard = [built / "emr-etl-guard", "audit", f"s3://{BUCKET}/{PREFIX}", "--json"]
    yield run(
        "emr-etl-guard audit",
        guard,
        code=77,
        expect=lambda text: document in text.split('"totals"')[1],
    )
    commands = Path(folder.name) / "heads"
    # s5cmd lists by itself but needs names for HEAD requests; the listing that creates these names
    # is not counted.
    commands.write_text("".join(f"head s3://{BUCKET}/{key(number)}\n" for number in range(objects)))
    s5cmd = [
        "s5cmd",
        "--endpoint-url",
        endpoint,
        "--numworkers",
        str(AT_ONCE),
        "run",
        str(commands),
    ]
    yield run("s5cmd run (heads)", s5cmd, expect=lambda text: text.count('"key"') == objects)
    boto3 = [
        venv / "bin/python",
        "-B",
        here / "boto3_audit.py",
        endpoint,
        BUCKET,
        PREFIX,
        str(AT_ONCE),
    ]
    yield run(
        f"boto3, {AT_ONCE} threads", boto3, expect=lambda text: text.startswith(f"{objects} ")
    )
    rclone = {
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCH_ENDPOINT": endpoint,
        "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": "AKIAGUARD",
        "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": "secret",
    }
    # Metadata needs a HEAD of each object, and so does the encryption.
    listing = [
        "rclone",
        "lsjson",
        "--recursive",
        "--metadata",
        "--files-only",
        "--checkers",
        str(AT_ONCE),
        f"bench:{BUCKET}/{PREFIX}",
    ]
    yield run(
        "rclone lsjson -M",
        listing,
        expect=lambda text: text.count('"Path"') == objects,
        more=rclone,
    )
    lines = Path(folder.name) / "keys"
    lines.write_text("".join(f"{key(number)}\n" for number in range(BY_PROCESS)))
    heads = f"xargs -P 2 -I KEY aws s3api head-object --bucket {BUCKET} --key KEY < {lines}"
    yield run(
        "aws s3api",
        ["bash", "-c", heads],
        number=BY_PROCESS,
        expect=lambda text: text.count("ETag") == BY_PROCESS,
    )


try:
    print(f"the encryption of {objects} objects, {AT_ONCE} at once, {delay} ms on each reply")
    print(
        f"  {'':<20} {'a second':>10} {'of processor time':>18}   beside the bare client, by processor time"
    )
    came, limit = {}, None
    for name, rate, by_processor in all_peers():
        limit = limit or (rate, by_processor)
        came[name] = by_processor
        print(
            f"  {name:<20} {rate:>10.0f} {by_processor:>18.0f}   {rate / limit[0]:.3f}, {by_processor / limit[1]:.3f}",
            flush=True,
        )
    peers = {
        name: value
        for name, value in came.items()
        if name not in ("bare client", "emr-etl-guard audit")
    }
    best = max(peers, key=peers.get)
    print(
        f"  the audit is {came['emr-etl-guard audit'] / peers[best]:.1f} times as fast by processor time as the next, {best}"
    )
finally:
    responder.kill()
    responder.wait()
