"""Records which AWS calls a stand-in really answered: a proxy in front of it that recognises AWS's
operations, and a list of them that is compared with the record.
"""

import http.client
import http.server
import pathlib
import re
import sys
import threading
import urllib.parse

# Query parameters that make another operation of the same path, and the operation's name for a GET.
SUBRESOURCES = {
    "encryption": "GetBucketEncryption",
    "policy": "GetBucketPolicy",
    "policyStatus": "GetBucketPolicyStatus",
    "publicAccessBlock": "GetPublicAccessBlock",
    "versioning": "GetBucketVersioning",
    "website": "GetBucketWebsite",
    "notification": "GetBucketNotificationConfiguration",
    "replication": "GetBucketReplication",
    "lifecycle": "GetBucketLifecycleConfiguration",
    "requestPayment": "GetBucketRequestPayment",
    "ownershipControls": "GetBucketOwnershipControls",
    "object-lock": "GetObjectLockConfiguration",
    "tagging": "GetObjectTagging",
    "acl": "GetObjectAcl",
    "retention": "GetObjectRetention",
    "legal-hold": "GetObjectLegalHold",
    "annotation": "ListObjectAnnotations",
    "versions": "ListObjectVersions",
    "uploads": "ListMultipartUploads",
    "uploadId": "ListParts",
}
# The operations of these subresources that change something, by the method.
CHANGES = {
    ("PUT", "encryption"): "PutBucketEncryption",
    ("DELETE", "encryption"): "DeleteBucketEncryption",
    ("PUT", "policy"): "PutBucketPolicy",
    ("DELETE", "policy"): "DeleteBucketPolicy",
    ("PUT", "publicAccessBlock"): "PutPublicAccessBlock",
    ("DELETE", "publicAccessBlock"): "DeletePublicAccessBlock",
}
BUCKET = {
    "HEAD": "HeadBucket",
    "GET": "ListObjectsV2",
    "PUT": "CreateBucket",
    "DELETE": "DeleteBucket",
}
PLAIN = {"HEAD": "HeadObject", "GET": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


def s3_operation(method: str, path: str, query: dict, headers: dict) -> str:
    """S3's operations differ by method, path, query and one header."""
    has_key = "/" in path.strip("/")
    copies = "x-amz-copy-source" in headers
    if "uploadId" in query and method != "GET":
        return {
            "PUT": "UploadPartCopy" if copies else "UploadPart",
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
        }[method]
    if method == "POST":
        return (
            "CreateMultipartUpload"
            if "uploads" in query
            else "RestoreObject"
            if "restore" in query
            else "POST"
        )
    if method == "PUT" and "encryption" in query and has_key:
        return "UpdateObjectEncryption"
    for name, operation in SUBRESOURCES.items():
        if name in query:
            return operation if method == "GET" else CHANGES.get((method, name), f"{method} {name}")
    if not has_key:
        return BUCKET[method]
    if method == "PUT" and copies:
        return "CopyObject"
    return PLAIN[method] + (" of a version" if "versionId" in query else "")


def call(method: str, target: str, headers: dict, body: bytes) -> str | None:
    """A signed request's service and operation: `s3 HeadObject`; none where it is not signed."""
    scope = headers.get("authorization", "").partition("Credential=")[2].split(",")[0].split("/")
    if len(scope) < 4:
        return None
    service = scope[3]
    path, _, query = target.partition("?")
    query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    if service == "s3" and path.startswith("/v20180820/"):
        rest = path.removeprefix("/v20180820/").split("/")
        if rest[0] == "configuration":
            return "s3control GetPublicAccessBlock"
        jobs = {
            ("POST", 1): "CreateJob",
            ("GET", 1): "ListJobs",
            ("GET", 2): "DescribeJob",
            ("POST", 3): "UpdateJobStatus",
        }
        return f"s3control {jobs[method, len(rest)]}"
    if service == "s3":
        return f"s3 {s3_operation(method, path, query, headers)}"
    if "x-amz-target" in headers:
        return f"{service} {headers['x-amz-target'].rpartition('.')[2]}"
    return f"{service} {dict(urllib.parse.parse_qsl(body.decode())).get('Action', '')}"


# How AWS says that something does not exist, where the status is not 404.
NOT_THERE = {"NotFoundException", "InvalidRequestException"}


def code_of(content: bytes) -> str:
    """AWS's error code in an answer; empty where it is none of AWS's."""
    text = content.decode(errors="replace")
    found = re.search(r"<Code>(\w+)</Code>", text) or re.search(r'"__type": ?"([\w.#]+)"', text)
    return found.group(1).rpartition("#")[2] if found else ""


class Asked:
    """The calls of the guard that were answered without an error, and the errors that were
    answered to the others. The guard is known by its access keys.
    """

    def __init__(self, access_key: str):
        self.access_keys = {access_key}
        self.calls: set[str] = set()
        # Call, status and code, without the answers that something does not exist.
        self.errors: set[tuple[str, int, str]] = set()

    def note(self, method: str, target: str, headers: dict, body: bytes, answer: tuple[int, bytes]):
        """Records a call, if it is the guard's."""
        status, content = answer
        name = call(method, target, headers, body)
        if not name or not any(
            f"Credential={key}/" in headers["authorization"] for key in self.access_keys
        ):
            return
        code = code_of(content) if status >= 400 else ""
        if status < 400:
            self.calls.add(name)
        elif status != 404 and code not in NOT_THERE:
            self.errors.add((name, status, code))

    def compared(self, file: pathlib.Path, what: str) -> int:
        """Compares the list in a file with the record; returns the number of differences."""
        listed = {
            line for line in file.read_text().splitlines() if line and not line.startswith("#")
        }
        if listed == self.calls:
            print(
                f"{what}: ok the list of the {len(listed)} calls that were answered is the one in {file.name}"
            )
            return 0
        for name in sorted(self.calls - listed):
            print(f"{what}: FAILED {file}: {name} was answered and is not listed")
        for name in sorted(listed - self.calls):
            print(f"{what}: FAILED {file}: {name} is listed and was not answered")
        print(
            f"fix: write these lines into {file}, and run `cargo test contracts`:",
            *sorted(self.calls),
            sep="\n",
            flush=True,
        )
        return 1


class Proxy:
    """Forwards every request to a stand-in, and records it."""

    def __init__(self, url: str, asked: Asked):
        where = urllib.parse.urlsplit(url).netloc
        self.asked = asked

        class Handler(http.server.BaseHTTPRequestHandler):
            """One connection of a client, with one of its own to the stand-in."""

            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                self.upstream = http.client.HTTPConnection(where, timeout=120)

            def finish(self):
                self.upstream.close()
                super().finish()

            def handle_one(self):
                """Any method."""
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                sent = {
                    name: value
                    for name, value in headers.items()
                    if name not in ("connection", "expect")
                }
                try:
                    self.upstream.request(self.command, self.path, body=body or None, headers=sent)
                    response = self.upstream.getresponse()
                except (http.client.HTTPException, OSError):
                    # The stand-in has closed an idle connection.
                    self.upstream.close()
                    self.upstream.request(self.command, self.path, body=body or None, headers=sent)
                    response = self.upstream.getresponse()
                content = response.read()
                asked.note(self.command, self.path, headers, body, (response.status, content))
                self.send_response_only(response.status, response.reason)
                for name, value in response.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = (
                    response.getheader("content-length", "0")
                    if self.command == "HEAD"
                    else str(len(content))
                )
                if response.status != 204:
                    self.send_header("content-length", length)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

            def log_message(self, format, *args):  # pylint: disable=redefined-builtin
                """Does nothing: the stand-in has its own log."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def end(self):
        """Stops it."""
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    sys.exit("integration/moto/run and integration/localstack/run use this")
