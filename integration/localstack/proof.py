"""Sends the same requests to the simulated S3 and to LocalStack, and compares the responses; then
runs the guard against LocalStack: `reencrypt` here, and `setup` as setup_proof.py has it.
"""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import setup_proof  # pylint: disable=wrong-import-position
from asked import Asked, Proxy  # pylint: disable=wrong-import-position

REGION = "eu-west-1"
SSE = {"x-amz-server-side-encryption": "AES256"}
SOURCE = {"x-amz-copy-source": "/the-bucket/a"}


class S3:
    """One S3 at a URL."""

    def __init__(self, url: str):
        self.url = url
        self.where = urllib.parse.urlsplit(url).netloc

    def ask(
        self, method: str, path: str, headers: dict | None = None, body: bytes = b""
    ) -> "Answer":
        """Signed, as far as both check it."""
        connection = http.client.HTTPConnection(self.where, timeout=60)
        scope = f"AKIAGUARD/20260101/{REGION}/s3/aws4_request"
        signed = {
            "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "x-amz-date": "20260101T000000Z",
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        }
        connection.request(method, path, body=body, headers={**signed, **(headers or {})})
        response = connection.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read().decode(),
        )
        connection.close()
        return answer


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict, body: str):
        self.status, self.headers, self.body = status, headers, body

    def xml(self, name: str) -> str | None:
        """The text of the first element of this name."""
        found = re.search(f"<{name}>([^<]*)</{name}>", self.body)
        return found.group(1) if found else None

    def version(self, name: str) -> str:
        """Absent, null, or some id."""
        value = self.headers.get(name, "absent")
        return value if value in ("absent", "null") else "id"

    def said(self) -> tuple:
        """The parts of a response that must be equal everywhere."""
        return (
            self.status,
            self.xml("Code"),
            self.version("x-amz-version-id"),
            self.version("x-amz-copy-source-version-id"),
            self.headers.get("x-amz-delete-marker"),
        )


def stack(s3: S3) -> list[str]:
    """Versions and delete markers of `a`, newest first, by id and size. The two lists of S3 are
    merged, in the order of the document.
    """
    found = re.findall(
        r"<(Version|DeleteMarker)>(.*?)</\1>", s3.ask("GET", "/the-bucket?versions").body, re.S
    )
    lines = []
    for kind, text in found:
        version = re.search("<VersionId>([^<]*)<", text).group(1)
        size = re.search("<Size>([^<]*)<", text)
        lines.append(
            f"{'null' if version == 'null' else 'id'} {size.group(1) if size else 'marker'} {re.search('<IsLatest>([^<]*)<', text).group(1)}"
        )
    return sorted(lines)


def new_bucket(s3: S3):
    """An empty bucket."""
    body = f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    s3.ask("PUT", "/the-bucket", body=body.encode())


def versioning(s3: S3, status: str):
    """The simulated S3 is set up by its control interface, since no caller of these tests needs
    this call.
    """
    if s3.ask("GET", "/_control/state").status == 200:
        command = [
            {"command": "put_bucket", "name": "the-bucket", "region": REGION, "versioning": status}
        ]
        asked = s3.ask("POST", "/_control/apply", body=json.dumps(command).encode())
    else:
        body = f'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>{status}</Status></VersioningConfiguration>'
        asked = s3.ask("PUT", "/the-bucket?versioning", body=body.encode())
    assert asked.status == 200, asked.body


def put(s3: S3, body: str, headers: dict | None = None) -> Answer:
    """Writes `a`."""
    return s3.ask("PUT", "/the-bucket/a", headers, body.encode())


def null_versions(s3: S3):
    """If versions are kept, an older null version stays; if they are suspended, it is replaced."""
    yield put(s3, "null").said()
    versioning(s3, "Enabled")
    yield s3.ask("HEAD", "/the-bucket/a").said()
    yield s3.ask("PUT", "/the-bucket/a", {**SOURCE, **SSE}).said()
    yield s3.ask("PUT", "/the-bucket/a", {**SOURCE, **SSE}).said()
    yield stack(s3)
    yield s3.ask("GET", "/the-bucket/a?versionId=null").body
    versioning(s3, "Suspended")
    yield put(s3, "second").said()
    # LocalStack 4.3 lists the null version as the latest now, and answers a HEAD with the one that
    # was the latest before it, so no more requests are compared here.
    yield stack(s3)


def suspended_versions(s3: S3):
    """Every write and delete affects the null version."""
    versioning(s3, "Enabled")
    yield put(s3, "first").said()
    versioning(s3, "Suspended")
    yield put(s3, "second").said()
    yield stack(s3)
    yield s3.ask("HEAD", "/the-bucket/a").said()
    yield s3.ask("PUT", "/the-bucket/a", {**SOURCE, **SSE}).said()
    yield stack(s3)
    upload = begun(s3, {})
    part = s3.ask("PUT", f"/the-bucket/a?partNumber=1&uploadId={upload}", SOURCE)
    yield part.said()[:3]
    yield completed(
        s3, upload, [{"PartNumber": 1, "ETag": part.xml("ETag").replace("&quot;", '"')}]
    ).said()
    yield stack(s3)
    yield s3.ask("DELETE", "/the-bucket/a").said()
    yield stack(s3)
    yield s3.ask("HEAD", "/the-bucket/a").status
    yield s3.ask("DELETE", "/the-bucket/a?versionId=null").said()
    yield stack(s3)
    yield s3.ask("HEAD", "/the-bucket/a").said()


def markers(s3: S3):
    """A delete marker hides the object; its removal makes the object visible again."""
    versioning(s3, "Enabled")
    yield put(s3, "one").said()
    gone = s3.ask("DELETE", "/the-bucket/a")
    yield gone.said()
    yield s3.ask("HEAD", "/the-bucket/a").status
    yield s3.ask("PUT", "/the-bucket/a", {**SOURCE, **SSE}).status
    yield s3.ask("DELETE", f"/the-bucket/a?versionId={gone.headers['x-amz-version-id']}").said()
    yield s3.ask("HEAD", "/the-bucket/a").said()


def conditional_writes(s3: S3):
    """If-Match applies to the current version, and a delete marker is not one."""
    versioning(s3, "Enabled")
    etag = put(s3, "one").headers["etag"]
    yield put(s3, "two", {"if-match": '"other"'}).said()
    yield put(s3, "two", {"if-match": etag}).said()
    yield put(s3, "three", {"if-match": etag}).said()
    s3.ask("DELETE", "/the-bucket/a")
    yield put(s3, "four", {"if-match": etag}).said()
    yield stack(s3)


def begun(s3: S3, headers: dict) -> str:
    """An upload of `a`, by its id."""
    return s3.ask("POST", "/the-bucket/a?uploads", {**SSE, **headers}).xml("UploadId")


def completed(s3: S3, upload: str, parts: list[dict], headers: dict | None = None) -> Answer:
    """Completes it."""
    listed = "".join(
        "<Part>" + "".join(f"<{name}>{value}</{name}>" for name, value in part.items()) + "</Part>"
        for part in parts
    )
    body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</CompleteMultipartUpload>'
    return s3.ask("POST", f"/the-bucket/a?uploadId={upload}", headers, body.encode())


def uploads_and_writers(s3: S3):
    """A write since an upload was created conflicts with its completion, even with the same
    content.
    """
    etag = put(s3, "one").headers["etag"]
    upload = begun(s3, {})
    part = s3.ask("PUT", f"/the-bucket/a?partNumber=1&uploadId={upload}", SOURCE)
    parts = [{"PartNumber": 1, "ETag": part.xml("ETag").replace("&quot;", '"')}]
    yield completed(s3, upload, parts, {"if-match": '"other"'}).said()[:2]
    # One of the two compares dates to the second.
    time.sleep(1.1)
    put(s3, "one")
    yield completed(s3, upload, parts, {"if-match": etag}).said()[:2]
    s3.ask("DELETE", "/the-bucket/a")
    yield completed(s3, upload, parts, {"if-match": etag}).said()[:2]
    listed = s3.ask("GET", "/the-bucket?uploads&prefix=a")
    yield (
        listed.xml("Key"),
        listed.xml("UploadId") == upload,
        listed.xml("IsTruncated"),
        "<Initiator>" in listed.body,
        listed.xml("Initiated") is not None,
    )
    yield s3.ask("GET", "/the-bucket?uploads&prefix=b").xml("UploadId")
    yield s3.ask("DELETE", f"/the-bucket/a?uploadId={upload}").status
    yield completed(s3, upload, parts).said()[:2]


# LocalStack 4.3 does not support conditions on copies and deletes, nor checksums of copied parts.
CONVERSATIONS = [
    null_versions,
    suspended_versions,
    markers,
    conditional_writes,
    uploads_and_writers,
]


def guard(
    programs: pathlib.Path, url: str, folder: pathlib.Path, *words: str
) -> subprocess.CompletedProcess:
    """Runs the guard's `reencrypt` on the bucket."""
    (folder / "guard.yml").write_text("")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "AKIAGUARD",
        "AWS_SECRET_ACCESS_KEY": "guard",
        "AWS_REGION": REGION,
        "EMR_ETL_GUARD_SETTINGS": str(folder / "guard.yml"),
        "EMR_ETL_GUARD_ALLOW_ENDPOINTS": url,
        "EMR_ETL_GUARD_STATE_DIR": str(folder / "state"),
    }
    argv = [
        programs / "emr-etl-guard",
        "reencrypt",
        "s3://the-bucket",
        "--bucket",
        "the-bucket",
        "--encryption",
        "SSE-S3",
        "--apply",
        *words,
    ]
    return subprocess.run(
        argv,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def the_guard_replaces_a_null_version_and_names_open_uploads(
    programs: pathlib.Path, s3: S3, proxy: Proxy, folder: pathlib.Path
):
    """A suspended bucket whose only version is the null version, and with an upload of another
    writer.
    """
    new_bucket(s3)
    put(s3, "text", {"x-amz-server-side-encryption": "aws:kms", "x-amz-meta-who": "me"})
    versioning(s3, "Suspended")
    upload = begun(s3, {})
    done = guard(programs, proxy.url, folder)
    said = done.stdout + done.stderr
    head = s3.ask("HEAD", "/the-bucket/a").headers
    saw = (
        done.returncode,
        head.get("x-amz-server-side-encryption"),
        head.get("x-amz-meta-who"),
        stack(s3),
        upload in done.stdout,
    )
    assert saw == (0, "AES256", "me", ["null 4 true"], True), f"{saw}\n{said}"
    assert s3.ask("GET", f"/the-bucket/a?uploadId={upload}").status == 200, (
        "the upload is somebody else's"
    )
    empty(s3)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class LocalStack:
    """LocalStack as a process of its own, without containers, tokens or DNS."""

    def __init__(self, folder: pathlib.Path):
        port = free_port()
        self.s3 = S3(f"http://127.0.0.1:{port}")
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "EAGER_SERVICE_LOADING": "0",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "PERSISTENCE": "0",
            "DNS_ADDRESS": "0",
            "S3_SKIP_SIGNATURE_VALIDATION": "1",
            "LOCALSTACK_VOLUME_DIR": str(folder / "volume"),
            "FILESYSTEM_ROOT": str(folder / "files"),
        }
        self.log = open(folder / "log", "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localstack.runtime.main"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                self.s3.ask("GET", "/")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"localstack did not start:\n{(folder / 'log').read_text()}")
                time.sleep(0.2)

    def end(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()
        self.log.close()


class Simulator:
    """The simulated S3, new for each conversation."""

    def __init__(self, programs: pathlib.Path):
        self.process = subprocess.Popen(
            [programs / "emr-simulator", "--scene", "acme"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.s3 = S3(self.process.stdout.readline().strip())

    def end(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def empty(s3: S3):
    """Removes the bucket with all its content."""
    for _, text in re.findall(
        r"<(Version|DeleteMarker)>(.*?)</\1>", s3.ask("GET", "/the-bucket?versions").body, re.S
    ):
        key, version = (
            re.search("<Key>([^<]*)<", text).group(1),
            re.search("<VersionId>([^<]*)<", text).group(1),
        )
        s3.ask("DELETE", f"/the-bucket/{key}?versionId={version}")
    for upload in re.findall("<UploadId>([^<]*)<", s3.ask("GET", "/the-bucket?uploads").body):
        s3.ask("DELETE", f"/the-bucket/a?uploadId={upload}")
    s3.ask("DELETE", "/the-bucket")


def compared(conversation, programs: pathlib.Path, theirs: S3) -> list[str]:
    """The differences between the two."""
    simulator = Simulator(programs)
    try:
        said = []
        for s3 in (simulator.s3, theirs):
            new_bucket(s3)
            said.append(list(conversation(s3)))
        empty(theirs)
    finally:
        simulator.end()
    ours, others = said
    different = [
        f"answer {number}: the simulator {one}, LocalStack {other}"
        for number, (one, other) in enumerate(zip(ours, others), 1)
        if one != other
    ]
    return different + ([] if len(ours) == len(others) else ["one says more than the other"])


def main(programs: pathlib.Path) -> int:
    """Runs all."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "localstack").mkdir()
        localstack = LocalStack(folder / "localstack")
        asked = Asked("AKIAGUARD")
        proxy = Proxy(localstack.s3.url, asked)
        try:
            for conversation in CONVERSATIONS:
                different = compared(conversation, programs, localstack.s3)
                failed += bool(different)
                print(
                    f"localstack: {'FAILED' if different else 'ok'} {conversation.__name__}",
                    *different,
                    sep="\n  ",
                    flush=True,
                )
            for proof in [
                the_guard_replaces_a_null_version_and_names_open_uploads,
                setup_proof.what_setup_needs_and_localstack_lacks,
                setup_proof.from_an_empty_account_setup_makes_what_it_can_and_takes_it_back,
            ]:
                name = proof.__name__.replace("_", " ")
                try:
                    proof(programs, localstack.s3, proxy, folder)
                    print(f"localstack: ok {name}", flush=True)
                except AssertionError as error:
                    failed += 1
                    print(f"localstack: FAILED {name}\n{error}")
        finally:
            proxy.end()
            localstack.end()
    if not failed:
        failed += asked.compared(pathlib.Path(__file__).with_name("asked.txt"), "localstack")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
