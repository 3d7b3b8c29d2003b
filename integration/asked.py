"""Records which AWS calls a stand-in really answered: a proxy in front of it that recognises AWS's
operations, and a list of them that is compared with the record.
"""

import http.client
import http.server
import pathlib
import sys
import threading
import urllib.parse

# Query parameters that make another operation of the same path, and the operation's name for a GET.
SUBRESOURCES = {
    "encryption": "GetBucketEncryption",
    "policy": "GetBucketPolicy",
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
            return operation if method == "GET" else f"{method} {name}"
    if not has_key:
        return (
            "HeadBucket"
            if method == "HEAD"
            else "ListObjectsV2"
            if method == "GET"
            else f"{method} bucket"
        )
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


class Asked:
    """The calls of one caller that were answered without an error."""

    def __init__(self, access_key: str):
        self.access_key = access_key
        self.calls: set[str] = set()

    def note(self, method: str, target: str, headers: dict, body: bytes, status: int):
        """Records a call, if it is that caller's and was answered."""
        name = call(method, target, headers, body)
        if name and status < 400 and f"Credential={self.access_key}/" in headers["authorization"]:
            self.calls.add(name)

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
                asked.note(self.command, self.path, headers, body, response.status)
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
