"""Owns the scenarios in which the guard meets moto, an AWS that nobody of this project wrote.

    scenarios.py FOLDER

FOLDER holds the built emr-etl-guard and standin-runner.

Each scenario gets a world of its own, seeded by boto3 with what tests/recordings/config.yml names.
moto serves it over HTTP on loopback from this very process, so there is no other process to end,
and a scenario can play the part of EMR that moto leaves out.

Where moto is less than AWS, and what is done about it:

- SimulatePrincipalPolicy is not there (HTTP 500): the checks in UNANSWERED stay Unknown and are
  lowered to advice. `a_check_that_moto_cannot_answer` shows that without this the guard refuses, as
  it must.
- GetBucketVersioning's answer has a root element of another name than AWS's, which the SDK does not
  read: `no-earlier-versions` stays Unknown, and only advises.
- EMR takes the region from the host's name, and on loopback is always us-east-1: so all of the
  config is put there.
- A cluster is WAITING at once and its steps never move, so no run can be confirmed on moto as it is
  (exit 75). Where a scenario wants a run to its end, `Hadoop` moves a step with each ListSteps.
  Nothing in the answers is changed: they are moto's.
- No volume is ever encrypted, whatever the security configuration says:
  `volumes_that_are_not_encrypted_end_the_cluster` shows what the guard makes of that. Where a
  scenario wants a cluster that is as it was asked for, `Ebs` encrypts the volumes of its instances,
  as EMR would.
- ListInstanceGroups shows no Configurations: what the guard makes of those of a group cannot be
  seen here.
- HeadBucket ignores the expected owner: that a bucket of another account is refused cannot be seen
  here.
- RunJobFlow takes a security configuration that does not exist: the guard must find that out by
  itself, before.
- Termination is immediate: the wait for TERMINATED cannot be seen here.
- Any access key is accepted as one of account 123456789012, unless it was issued for another.

setup_scenarios.py has the scenarios of `setup`, and what moto lacks for them.
"""

import contextlib
import datetime
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest.mock
import urllib.request
import zipfile

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from moto.emr.models import ElasticMapReduceBackend
from moto.server import ThreadedMotoServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "integration"))
from asked import Asked, Proxy  # pylint: disable=wrong-import-position

RECORDINGS = ROOT / "tests" / "recordings"
REGION = "us-east-1"
BUCKETS = ["acme-archive", "acme-etl", "acme-log", "acme-out", "acme-raw-in", "acme-raw-in2"]
ROLE = "EMR_EC2_DefaultRole"
SERVICE_ROLE = "EMR_DefaultRole"
SECURITY_CONFIGURATION = "acme-sc"
RUN_TAG = "emr-etl-guard-run"
JOB_NAME = "Snowplow ETL"

# The checks that need a call which moto does not support.
UNANSWERED = {
    "jobflow-role-may-use-key",
    "service-role-may-use-key",
    "jobflow-role-may-read-object",
}
# The same, for checks that are advisory by default.
UNANSWERED_ADVICE = {
    "no-earlier-versions",
    "guard-may-end-clusters",
    "runner-may-tag-clusters",
    "organization-allows",
}

# The checks on a cluster's components.
OF_CLUSTERS = (
    "cluster-configurations",
    "cluster-roles",
    "cluster-ami",
    "cluster-bootstrap-actions",
    "cluster-groups",
    "cluster-volumes",
    "step-arguments",
)

REFUSED, UNCONFIRMED, TERMINATED, FACTS_UNKNOWN = 77, 75, 76, 69


def pem_zip() -> bytes:
    """The archive with EMR's certificates: a key without passphrase and a chain, for the names of
    the region's instances.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "*.ec2.internal")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("privateKey.pem", private)
        files.writestr("certificateChain.pem", certificate.public_bytes(serialization.Encoding.PEM))
    return archive.getvalue()


class World:
    """moto with its content, and the ways in which a scenario changes and reads it."""

    # What the config has behind `security_configuration:`.
    configured = f" {SECURITY_CONFIGURATION}"

    def __init__(self, url: str, certificates: bytes):
        self.url = url
        with urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")):
            pass
        self.s3, self.kms, self.iam = self.client("s3"), self.client("kms"), self.client("iam")
        self.emr, self.ec2, self.sts = self.client("emr"), self.client("ec2"), self.client("sts")
        self.subnet = self.network()
        self.seed(certificates)

    def seed(self, certificates: bytes):
        """Makes what the scenarios start from."""
        for bucket in BUCKETS:
            self.s3.create_bucket(Bucket=bucket)
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            self.s3.put_bucket_encryption(
                Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
            )
        self.s3.put_object(Bucket="acme-raw-in", Key="logs/2020-08-21-raw.lzo", Body=b"hello\n")
        self.s3.put_object(Bucket="acme-etl", Key="certs/emr.zip", Body=certificates)
        # Without a policy of its own, a key gets AWS's default one, which leaves the decision to
        # the account's IAM policies. Its usage is given explicitly, because moto lacks AWS's
        # default for it.
        self.key = self.kms.create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        self.iam.create_role(
            RoleName=ROLE,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        self.iam.create_role(
            RoleName=SERVICE_ROLE,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        self.iam.create_instance_profile(InstanceProfileName=ROLE)
        self.iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
        self.emr.create_security_configuration(
            Name=SECURITY_CONFIGURATION, SecurityConfiguration=json.dumps(self.content())
        )

    def network(self) -> str:
        """A subnet of a VPC with the names of its region; moto has one."""
        subnet = self.ec2.describe_subnets()["Subnets"][0]
        options = [
            {"Key": "domain-name", "Values": ["ec2.internal"]},
            {"Key": "domain-name-servers", "Values": ["AmazonProvidedDNS"]},
        ]
        dhcp = self.ec2.create_dhcp_options(DhcpConfigurations=options)["DhcpOptions"][
            "DhcpOptionsId"
        ]
        self.ec2.associate_dhcp_options(DhcpOptionsId=dhcp, VpcId=subnet["VpcId"])
        self.ec2.modify_vpc_attribute(VpcId=subnet["VpcId"], EnableDnsHostnames={"Value": True})
        return subnet["SubnetId"]

    def client(self, service: str, **more):
        credentials = {"aws_access_key_id": "AKIASEED", "aws_secret_access_key": "seed"}
        where = {"endpoint_url": self.url, "region_name": REGION}
        return boto3.client(service, **where, **credentials, **more)

    def content(self, in_transit: bool = True) -> dict:
        """What the security configuration says."""
        certificates = {"CertificateProviderType": "PEM", "S3Object": "s3://acme-etl/certs/emr.zip"}
        disk = {
            "EncryptionKeyProviderType": "AwsKms",
            "AwsKmsKey": self.key,
            "EnableEbsEncryption": True,
        }
        encryption = {
            "EnableAtRestEncryption": True,
            "AtRestEncryptionConfiguration": {
                "S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"},
                "LocalDiskEncryptionConfiguration": disk,
            },
            "EnableInTransitEncryption": in_transit,
        }
        if in_transit:
            encryption["InTransitEncryptionConfiguration"] = {
                "TLSCertificateConfiguration": certificates
            }
        return {"EncryptionConfiguration": encryption}

    def clusters(self) -> list[dict]:
        """Every cluster there is, described."""
        listed = self.emr.list_clusters()["Clusters"]
        return [self.emr.describe_cluster(ClusterId=cluster["Id"])["Cluster"] for cluster in listed]

    def config(self) -> str:
        """The recorded config, changed to moto's region and ids."""
        text = (RECORDINGS / "config.yml").read_text()
        for old, new, times in [
            ("region: eu-west-1", f"region: {REGION}", 2),
            ("ec2_subnet_id: subnet-0123456789abcdef0", f"ec2_subnet_id: {self.subnet}", 1),
            ("security_configuration:\n", f"security_configuration:{self.configured}\n", 1),
        ]:
            expect(text.count(old), times, f"how often `{old}` stands in the recorded config")
            text = text.replace(old, new)
        return text


class Requests(logging.Handler):
    """The requests that moto answered: the lines of its access log."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []
        logger = logging.getLogger("werkzeug")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord):
        self.lines.append(record.getMessage())


class Ended:
    """The result of one call of the guard."""

    def __init__(self, done: subprocess.CompletedProcess, folder: pathlib.Path):
        self.code, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr
        report, journal = folder / "report.json", folder / "journal"
        self.report = json.loads(report.read_text()) if report.exists() else {}
        events = (
            [json.loads(line)["event"] for line in journal.read_text().splitlines()]
            if journal.exists()
            else []
        )
        # `--version` also makes the stand-in `spawned`, but only a run makes it `started`.
        self.runner_ran = "started" in events

    def findings(self) -> list[dict]:
        """Every finding: those of the run, and those of each cluster that was watched."""
        watched = self.report.get("watched") or {"clusters": []}
        return self.report.get("findings", []) + [
            finding for cluster in watched["clusters"] for finding in cluster["findings"]
        ]

    def open(self) -> set[tuple]:
        """The required findings that did not pass, as check, subject and status."""
        required = (finding for finding in self.findings() if finding["level"] == "required")
        # A finding that only waits for another is that finding's consequence.
        return {
            (f["check"], f["subject"], f["status"])
            for f in required
            if f["status"] not in ("passed", "not-applicable") and "waits_for" not in f
        }

    def status(self, check: str) -> list[str]:
        """The answers of one check, over all its subjects."""
        return sorted(
            {finding["status"] for finding in self.findings() if finding["check"] == check}
        )

    def __str__(self):
        return f"exit {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}\n--- report\n{json.dumps(self.report, indent=1)[:20000]}"


class Stage:
    """One scenario's world and folder, and ways to run the guard in them."""

    def __init__(
        self,
        programs: pathlib.Path,
        world: World,
        requests: Requests,
        folder: pathlib.Path,
        proxy: Proxy,
    ):
        self.programs, self.world, self.requests, self.folder = programs, world, requests, folder
        self.proxy = proxy
        self.last: Ended | None = None
        (folder / "config.yml").write_text(world.config())
        (folder / "resolver.json").write_text((RECORDINGS / "resolver.json").read_text())
        # Given explicitly, so that this machine's own settings are never read.
        (folder / "guard.yml").write_text("")

    def guard(self, command: str, **more: str | None) -> Ended:
        """Calls `emr-etl-guard COMMAND -- run -c config.yml -r resolver.json`; `more` are variables
        other than the usual ones, None unsets one.
        """
        return self.call(command, "--", "run", "-c", "config.yml", "-r", "resolver.json", **more)

    def call(self, command: str, *words: str, **more: str | None) -> Ended:
        """Calls `emr-etl-guard COMMAND WORDS`."""
        for name in ("report.json", "journal"):
            (self.folder / name).unlink(missing_ok=True)
        self.requests.lines.clear()
        env = {
            # Nothing from this machine's own environment, profiles or caches.
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.proxy.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "AKIAGUARD",
            "AWS_SECRET_ACCESS_KEY": "guard",
            "AWS_SNOWPLOW_ACCESS_KEY": "AKIARUNNER",
            "AWS_SNOWPLOW_SECRET_KEY": "runner",
            "EMR_ETL_GUARD_SETTINGS": str(self.folder / "guard.yml"),
            "EMR_ETL_GUARD_RUNNER": str(self.programs / "standin-runner"),
            "EMR_ETL_GUARD_ALLOW_ENDPOINTS": self.proxy.url,
            "EMR_ETL_GUARD_STATE_DIR": str(self.folder / "state"),
            "EMR_ETL_GUARD_WATCH_INTERVAL": "200ms",
            "EMR_ETL_GUARD_REPORT": str(self.folder / "report.json"),
            "STANDIN_POLL_MS": "50",
            "STANDIN_JOURNAL": str(self.folder / "journal"),
            # moto does not support the calls of these checks.
            "EMR_ETL_GUARD_ADVISE": ",".join(sorted(UNANSWERED)),
            **more,
        }
        env = {name: value for name, value in env.items() if value is not None}
        argv = [self.programs / "emr-etl-guard", command, *words]
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.last = Ended(done, self.folder)
        return self.last


def expect(saw, wanted, what: str):
    """Raises if the value differs from the expected one."""
    if saw != wanted:
        raise AssertionError(f"{what}: saw {saw!r}, wanted {wanted!r}")


def expect_refused(stage: Stage, ended: Ended, code: int, findings: set[tuple]):
    """A refusal for these reasons and no others, before any runner ran and any cluster existed."""
    expect(ended.code, code, "exit code")
    expect(ended.open(), findings, "required findings that are open")
    expect(ended.runner_ran, False, "whether the runner ran")
    expect(stage.world.clusters(), [], "clusters")


class Hadoop:
    """Missing in moto: each request for a cluster's steps completes one more of them."""

    def __init__(self):
        self.list_steps = ElasticMapReduceBackend.list_steps

    def __call__(self, backend, cluster_id, *args, **kwargs):
        waiting = [step for step in backend.clusters[cluster_id].steps if step.state != "COMPLETED"]
        if waiting:
            waiting[0].state = "COMPLETED"
        return self.list_steps(backend, cluster_id, *args, **kwargs)

    @classmethod
    def at_work(cls):
        """The time in which steps move."""
        return unittest.mock.patch.object(
            ElasticMapReduceBackend, "list_steps", autospec=True, side_effect=cls()
        )


class Ebs:
    """Missing in moto: the volumes of a cluster's instances are encrypted, if its security
    configuration says so.
    """

    def __init__(self):
        self.run_instances = ElasticMapReduceBackend.run_instances

    def __call__(self, backend, cluster_id, *args, **kwargs):
        self.run_instances(backend, cluster_id, *args, **kwargs)
        cluster = backend.clusters[cluster_id]
        configuration = backend.security_configurations[
            cluster.security_configuration
        ].security_configuration
        content = json.loads(configuration) if isinstance(configuration, str) else configuration
        disk = content["EncryptionConfiguration"]["AtRestEncryptionConfiguration"][
            "LocalDiskEncryptionConfiguration"
        ]
        for instance in cluster.ec2_instances if disk["EnableEbsEncryption"] else []:
            for device in instance.ec2_instance.block_device_mapping.values():
                volume = backend.ec2_backend.volumes[device.volume_id]
                volume.encrypted, volume.kms_key_id = True, disk["AwsKmsKey"]

    @classmethod
    def at_work(cls):
        """The time in which volumes are encrypted."""
        return unittest.mock.patch.object(
            ElasticMapReduceBackend, "run_instances", autospec=True, side_effect=cls()
        )


@contextlib.contextmanager
def when_a_cluster_starts(before=None, after=None):
    """Somebody else acts in the account: `before` RunJobFlow takes effect, or on the new cluster
    `after` it.
    """
    run_job_flow = ElasticMapReduceBackend.run_job_flow

    def run(backend, **kwargs):
        if before:
            before(backend)
        cluster = run_job_flow(backend, **kwargs)
        if after:
            after(cluster)
        return cluster

    with unittest.mock.patch.object(
        ElasticMapReduceBackend, "run_job_flow", autospec=True, side_effect=run
    ):
        yield


# The scenarios. Each one's name is the sentence that it checks.


def a_world_with_everything_in_place_passes_the_check(stage: Stage):
    ended = stage.guard("check")
    expect(ended.code, 0, "exit code")
    expect(ended.open(), set(), "required findings that are open")
    unknown = {finding["check"] for finding in ended.findings() if finding["status"] == "unknown"}
    expect(unknown, UNANSWERED | UNANSWERED_ADVICE, "checks without an answer")
    expect(bool(stage.requests.lines), True, "whether moto was asked")
    for check in (
        "bucket-default-encryption",
        "bucket-region",
        "security-configuration-exists",
        "in-transit",
        "kms-key-enabled",
        "same-account",
    ):
        expect("passed" in ended.status(check), True, f"whether `{check}` is proved")
    expect(ended.runner_ran, False, "whether the runner ran")
    expect(stage.world.clusters(), [], "clusters")


def a_check_that_moto_cannot_answer_is_unknown_and_refuses(stage: Stage):
    ended = stage.guard("run", EMR_ETL_GUARD_ADVISE=None)
    unknown = {
        (f"{role}-role-may-use-key", stage.world.key, "unknown") for role in ("jobflow", "service")
    }
    unknown.add(("jobflow-role-may-read-object", "s3://acme-etl/certs/emr.zip", "unknown"))
    expect_refused(stage, ended, FACTS_UNKNOWN, unknown)


def a_bucket_without_default_encryption_refuses(stage: Stage):
    stage.world.s3.delete_bucket_encryption(Bucket="acme-out")
    expect_refused(
        stage, stage.guard("run"), REFUSED, {("bucket-default-encryption", "acme-out", "failed")}
    )


def a_bucket_that_does_not_exist_refuses(stage: Stage):
    stage.world.s3.delete_bucket(Bucket="acme-archive")
    checks = ("bucket-exists", "bucket-region", "bucket-owner", "bucket-default-encryption")
    expect_refused(
        stage, stage.guard("run"), REFUSED, {(check, "acme-archive", "failed") for check in checks}
    )


def a_security_configuration_that_does_not_exist_refuses(stage: Stage):
    stage.world.emr.delete_security_configuration(Name=SECURITY_CONFIGURATION)
    expect_refused(
        stage,
        stage.guard("run"),
        REFUSED,
        {("security-configuration-exists", SECURITY_CONFIGURATION, "failed")},
    )


def a_security_configuration_without_encryption_in_transit_refuses(stage: Stage):
    stage.world.emr.delete_security_configuration(Name=SECURITY_CONFIGURATION)
    weak = json.dumps(stage.world.content(in_transit=False))
    stage.world.emr.create_security_configuration(
        Name=SECURITY_CONFIGURATION, SecurityConfiguration=weak
    )
    expect_refused(
        stage, stage.guard("run"), REFUSED, {("in-transit", SECURITY_CONFIGURATION, "failed")}
    )


def a_disabled_key_refuses(stage: Stage):
    # Unchanged moto: the steps never progress, so the runner falsely reports success, and the guard
    # must not believe it.
    stage.world.kms.disable_key(KeyId=stage.world.key.rpartition("/")[2])
    expect_refused(
        stage, stage.guard("run"), REFUSED, {("kms-key-enabled", stage.world.key, "failed")}
    )


def a_guard_that_looks_at_another_account_refuses(stage: Stage):
    issued = stage.world.sts.assume_role(
        RoleArn="arn:aws:iam::222222222222:role/guard", RoleSessionName="guard"
    )["Credentials"]
    ended = stage.guard(
        "run",
        AWS_ACCESS_KEY_ID=issued["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=issued["SecretAccessKey"],
        AWS_SESSION_TOKEN=issued["SessionToken"],
    )
    expect(ended.code, REFUSED, "exit code")
    expect(
        ("same-account", "guard and runner", "failed") in ended.open(),
        True,
        "whether `same-account` failed",
    )
    expect(ended.runner_ran, False, "whether the runner ran")
    expect(stage.world.clusters(), [], "clusters")


def an_endpoint_that_the_settings_do_not_allow_is_never_asked(stage: Stage):
    ended = stage.guard("run", EMR_ETL_GUARD_ALLOW_ENDPOINTS="http://127.0.0.1:1")
    expect(ended.code, REFUSED, "exit code")
    expect(ended.status("aws-endpoint"), ["failed"], "`aws-endpoint`")
    expect(stage.requests.lines, [], "requests")
    expect(ended.runner_ran, False, "whether the runner ran")
    expect(stage.world.clusters(), [], "clusters")


def a_cluster_that_the_log_never_names_is_found_by_its_tag_and_proved_but_left_unconfirmed(
    stage: Stage,
):
    # moto as it is: the steps never move, so the runner is made to claim success, and the guard
    # must not believe it.
    with Ebs.at_work():
        ended = stage.guard("run", STANDIN_MISBEHAVE="leave-running,no-id")
    expect(
        (ended.code, ended.runner_ran), (UNCONFIRMED, True), "exit code, and whether the runner ran"
    )
    [cluster] = stage.world.clusters()
    expect(
        cluster["SecurityConfiguration"],
        SECURITY_CONFIGURATION,
        "the cluster's security configuration",
    )
    expect(
        {tag["Key"]: tag["Value"] for tag in cluster["Tags"]},
        {RUN_TAG: ended.report["run"]},
        "the cluster's tags",
    )
    [record] = ended.report["watched"]["clusters"]
    expect(
        (record["id"], record["found_by"], record["is_unsafe"]),
        (cluster["Id"], "list", False),
        "the cluster that the guard watched",
    )
    for check in (
        "cluster-security-configuration",
        "cluster-release",
        "cluster-subnet",
        "step-encryption-flag",
        *OF_CLUSTERS,
    ):
        expect(ended.status(check), ["passed"], f"`{check}`")
    wanted = {("cluster-ended", cluster["Id"], "failed"), ("run-did-its-work", "the run", "failed")}
    expect(ended.open(), wanted, "required findings that are open")
    expect(
        cluster["Status"]["State"],
        "WAITING",
        "the cluster's state: it is safe, so it is left alone",
    )
    for step in stage.world.emr.list_steps(ClusterId=cluster["Id"])["Steps"]:
        flagged = "--s3ServerSideEncryption" in step["Config"]["Args"]
        expect(flagged, "s3-dist-cp" in step["Config"]["Jar"], f"the flag on `{step['Name']}`")


def a_cluster_without_the_security_configuration_is_terminated(stage: Stage):
    ended = stage.guard("run", STANDIN_MISBEHAVE="drop-security-configuration")
    expect(ended.code, TERMINATED, "exit code")
    [cluster] = stage.world.clusters()
    expect(cluster.get("SecurityConfiguration"), None, "the cluster's security configuration")
    expect(cluster["Status"]["State"], "TERMINATED", "the cluster's state")
    [record] = ended.report["watched"]["clusters"]
    expect(
        (record["id"], record["is_unsafe"], record["end"]),
        (cluster["Id"], True, "confirmed"),
        "the cluster that the guard watched",
    )


def a_second_unsafe_cluster_that_the_log_never_names_is_terminated_too(stage: Stage):
    ended = stage.guard("run", STANDIN_MISBEHAVE="second-cluster-unsafe")
    expect(ended.code, TERMINATED, "exit code")
    by_configuration = {
        cluster.get("SecurityConfiguration"): cluster["Status"]["State"]
        for cluster in stage.world.clusters()
    }
    expect(by_configuration[None], "TERMINATED", "the unsafe cluster's state")
    expect(
        set(by_configuration),
        {None, SECURITY_CONFIGURATION},
        "the clusters' security configurations",
    )


def termination_protection_is_lifted_from_an_unsafe_cluster(stage: Stage):
    def protect(cluster):
        cluster.set_termination_protection(True)

    with when_a_cluster_starts(after=protect):
        ended = stage.guard("run", STANDIN_MISBEHAVE="drop-security-configuration")
    expect(ended.code, TERMINATED, "exit code")
    [cluster] = stage.world.clusters()
    expect(
        (cluster["Status"]["State"], cluster["TerminationProtected"]),
        ("TERMINATED", False),
        "the cluster's state and protection",
    )


def a_security_configuration_swapped_between_the_look_and_the_launch_ends_the_cluster(stage: Stage):
    weak = json.dumps(stage.world.content(in_transit=False))

    def swap(backend):
        backend.delete_security_configuration(SECURITY_CONFIGURATION)
        backend.create_security_configuration(SECURITY_CONFIGURATION, weak)

    with when_a_cluster_starts(before=swap):
        ended = stage.guard("run")
    expect(ended.code, TERMINATED, "exit code")
    [cluster] = stage.world.clusters()
    expect(
        cluster["SecurityConfiguration"],
        SECURITY_CONFIGURATION,
        "the cluster's security configuration: the name is right",
    )
    expect(cluster["Status"]["State"], "TERMINATED", "the cluster's state")


def a_security_configuration_made_anew_with_the_same_content_ends_the_cluster(stage: Stage):
    same = json.dumps(stage.world.content())

    def swap(backend):
        backend.delete_security_configuration(SECURITY_CONFIGURATION)
        backend.create_security_configuration(SECURITY_CONFIGURATION, same)

    with when_a_cluster_starts(before=swap):
        ended = stage.guard("run")
    expect(ended.code, TERMINATED, "exit code")
    expect(
        [cluster["Status"]["State"] for cluster in stage.world.clusters()],
        ["TERMINATED"],
        "the clusters' states",
    )


def a_run_whose_steps_complete_is_confirmed(stage: Stage):
    with Hadoop.at_work(), Ebs.at_work():
        ended = stage.guard("run")
    expect((ended.code, ended.stderr), (0, ""), "exit code and standard error")
    expect(ended.open(), set(), "required findings that are open")
    [cluster] = stage.world.clusters()
    expect(
        (cluster["Status"]["State"], cluster["SecurityConfiguration"]),
        ("TERMINATED", SECURITY_CONFIGURATION),
        "the cluster",
    )
    for check in (
        "cluster-security-configuration",
        "step-encryption-flag",
        "cluster-ended",
        "run-did-its-work",
        *OF_CLUSTERS,
    ):
        expect(ended.status(check), ["passed"], f"`{check}`")


def volumes_that_are_not_encrypted_end_the_cluster(stage: Stage):
    ended = stage.guard("run")
    expect(ended.code, TERMINATED, "exit code")
    [cluster] = stage.world.clusters()
    expect(cluster["Status"]["State"], "TERMINATED", "the cluster's state")
    expect(ended.status("cluster-volumes"), ["failed"], "`cluster-volumes`")
    [record] = ended.report["watched"]["clusters"]
    expect(
        {volume["encrypted"] for volume in record["volumes"]},
        {False},
        "whether the volumes that EC2 shows are encrypted",
    )


def a_cluster_with_an_additional_bootstrap_action_ends(stage: Stage):
    def tamper(cluster):
        cluster.add_bootstrap_action(
            {"name": "theirs", "script_bootstrap_action": {"path": "s3://evil/x.sh", "args": []}}
        )

    with Ebs.at_work(), when_a_cluster_starts(after=tamper):
        ended = stage.guard("run")
    expect(ended.code, TERMINATED, "exit code")
    wrong = {
        finding["check"]
        for finding in ended.findings()
        if finding["status"] == "failed" and finding["check"].startswith("cluster-")
    }
    expect(wrong, {"cluster-bootstrap-actions"}, "what failed of the cluster")


def kinds(ended: Ended) -> dict:
    """How many objects an audit found, by encryption, in all locations together."""
    counts: dict[str, int] = {}
    for location in ended.report["locations"]:
        for kind in location["kinds"]:
            counts[kind["encryption"]] = counts.get(kind["encryption"], 0) + kind["objects"]
    return counts


def an_audit_of_the_configs_locations_finds_them_encrypted(stage: Stage):
    ended = stage.guard("audit")
    expect(ended.code, 0, "exit code")
    expect(kinds(ended), {"SSE-S3": 1}, "objects by encryption")
    expect(ended.report["totals"]["objects"], 1, "objects")


def an_audit_tells_kinds_and_keys_apart_in_every_version(stage: Stage):
    s3, bucket = stage.world.s3, "acme-old"
    # moto encrypts nothing by default: objects from before 2023 are like this.
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    odd = "a/odd key+\u00fc%20"
    for key in ("a/plain", odd, "a/fixed"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.put_object(Bucket=bucket, Key="a/fixed", Body=b"x", ServerSideEncryption="AES256")
    s3.put_object(
        Bucket=bucket,
        Key="a/kms",
        Body=b"x",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=stage.world.key,
    )
    s3.put_object(Bucket=bucket, Key="a/gone", Body=b"x", ServerSideEncryption="AES256")
    s3.delete_object(Bucket=bucket, Key="a/gone")
    ended = stage.call("audit", f"s3://{bucket}/a", "--offenders", "list.jsonl", AWS_REGION=REGION)
    expect(ended.code, REFUSED, "exit code")
    expect(kinds(ended), {"none": 2, "SSE-S3": 1, "SSE-KMS": 1}, "current objects by encryption")
    listed = [
        json.loads(line)["key"] for line in (stage.folder / "list.jsonl").read_text().splitlines()
    ]
    expect(listed, [odd, "a/plain"], "offenders")
    keys = {
        kind["kms_key"]
        for kind in ended.report["locations"][0]["kinds"]
        if kind["encryption"] == "SSE-KMS"
    }
    expect(keys, {stage.world.key}, "keys")
    ended = stage.call("audit", f"s3://{bucket}/a", "--versions", AWS_REGION=REGION)
    expect(ended.code, REFUSED, "exit code")
    expect(kinds(ended), {"none": 3, "SSE-S3": 2, "SSE-KMS": 1}, "versions by encryption")
    expect(ended.report["locations"][0]["delete_markers"], 1, "delete markers")


def an_audit_of_more_than_a_page_in_folders_sees_every_object_once(stage: Stage):
    for number in range(1300):
        stage.world.s3.put_object(
            Bucket="acme-archive", Key=f"raw/run={number // 100:02}/{number:04}", Body=b"x"
        )
    ended = stage.call("audit", "s3://acme-archive/raw", AWS_REGION=REGION)
    expect(ended.code, 0, "exit code")
    expect(kinds(ended), {"SSE-S3": 1300}, "objects by encryption")
    asked = sum("HEAD /acme-archive/raw" in line for line in stage.requests.lines)
    expect(asked, 1300, "HEADs")


def an_audit_of_a_bucket_that_is_not_there_is_not_clean(stage: Stage):
    ended = stage.call("audit", "s3://acme-nowhere", AWS_REGION=REGION)
    expect(ended.code, FACTS_UNKNOWN, "exit code")
    expect("there is no bucket acme-nowhere" in ended.stderr, True, "whether it is named")


def attributes(stage: Stage, key: str) -> dict:
    """The properties that must be preserved, as moto shows them."""
    s3, where = stage.world.s3, {"Bucket": "acme-old", "Key": key}
    head = s3.head_object(**where)
    kept = (
        "ContentLength",
        "ContentType",
        "CacheControl",
        "ContentDisposition",
        "ContentEncoding",
        "ContentLanguage",
        "Metadata",
        "StorageClass",
        "WebsiteRedirectLocation",
    )
    return {
        "body": s3.get_object(**where)["Body"].read(),
        "tags": sorted(
            (tag["Key"], tag["Value"]) for tag in s3.get_object_tagging(**where)["TagSet"]
        ),
        "acl": s3.get_object_acl(**where)["Grants"],
        **{name: head.get(name) for name in kept},
    }


def old_objects(stage: Stage):
    s3 = stage.world.s3
    s3.create_bucket(Bucket="acme-old")
    # moto's response about versioning cannot be read, so versioning is assumed; moto has no version
    # `null` in a bucket without versions.
    s3.put_bucket_versioning(Bucket="acme-old", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="acme-old", Key="plain", Body=b"hello")
    s3.put_object(
        Bucket="acme-old",
        Key="laden \u00fc+%20",
        Body=b"laden",
        ContentType="text/csv",
        CacheControl="max-age=60",
        ContentDisposition="attachment",
        ContentEncoding="gzip",
        ContentLanguage="de",
        Metadata={"who": "me"},
        StorageClass="STANDARD_IA",
        WebsiteRedirectLocation="/elsewhere",
        Tagging="team=data&note=a%20b",
        ACL="public-read",
    )


def pages_are_made_of_what_audits_and_repairs_found(stage: Stage):
    old_objects(stage)
    repair = ("reencrypt", "s3://acme-old", "--encryption", "SSE-KMS", "--kms-key", stage.world.key)
    for words, code, title in (
        (("audit", "s3://acme-old"), REFUSED, "Not encrypted as required"),
        (repair, UNCONFIRMED, "Something is to be done"),
    ):
        expect(stage.call(*words, AWS_REGION=REGION).code, code, f"exit code of {words[0]}")
        (stage.folder / "report.json").rename(stage.folder / "document.json")
        page = stage.call("report", "html", "document.json")
        expect((page.code, title in page.stdout), (0, True), f"the page of {words[0]}")


def a_repair_encrypts_what_is_old_in_place_and_loses_nothing(stage: Stage):
    # Only copies: moto overwrites the content of an object whose encryption is updated.
    old_objects(stage)
    before = {key: attributes(stage, key) for key in ("plain", "laden \u00fc+%20")}
    # moto's response about notifications has another root element than S3's, so it cannot be read.
    words = [
        "s3://acme-old",
        "--bucket",
        "acme-old",
        "--encryption",
        "SSE-KMS",
        "--kms-key",
        stage.world.key,
        "--despite",
        "notifications",
    ]
    dry = stage.call("reencrypt", *words, AWS_REGION=REGION)
    expect(dry.code, UNCONFIRMED, "exit code of the dry run")
    expect({key: attributes(stage, key) for key in before}, before, "objects after the dry run")
    found = {found["method"]: found["objects"] for found in dry.report["locations"][0]["found"]}
    expect((found, dry.report["spent"]), ({"copy": 2}, None), "what the dry run found")
    done = stage.call("reencrypt", *words, "--apply", AWS_REGION=REGION)
    expect(done.code, UNCONFIRMED, "exit code: old versions are left")
    expect(
        [(it["method"], it["objects"]) for it in done.report["locations"][0]["done"]],
        [("copy", 2)],
        "what was done",
    )
    copies = sum(
        item["number"] for item in done.report["spent"]["items"] if item["what"] == "writes"
    )
    expect(
        copies,
        sum("PUT /acme-old" in line for line in stage.requests.lines),
        "writes that it came to",
    )
    expect(
        sum("?encryption" in line and "PUT" in line for line in stage.requests.lines),
        0,
        "updates of an encryption, which moto must not be asked for",
    )
    expect(
        "an old version: --purge-old-versions removes those" in done.stderr,
        True,
        "whether they are named",
    )
    expect({key: attributes(stage, key) for key in before}, before, "what objects carry")
    for key in before:
        head = stage.world.s3.head_object(Bucket="acme-old", Key=key)
        expect(
            (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")),
            ("aws:kms", stage.world.key),
            key,
        )
    again = stage.call("reencrypt", *words, "--apply", "--purge-old-versions", AWS_REGION=REGION)
    expect(again.code, 0, "exit code of another run")
    versions = stage.world.s3.list_object_versions(Bucket="acme-old")["Versions"]
    expect(sorted(version["Key"] for version in versions), sorted(before), "versions that are left")
    expect({key: attributes(stage, key) for key in before}, before, "what objects carry in the end")
    expect(
        sum("PUT /acme-old" in line for line in stage.requests.lines), 0, "copies of another run"
    )


def the_first_contact_records_answers_and_tells_nothing_of_the_account(stage: Stage):
    world, out = stage.world, stage.folder / "answers"
    stage.guard("run")
    argv = [
        ROOT / "integration" / "aws" / "first-contact",
        "--region",
        REGION,
        "--bucket",
        "acme-raw-in",
        "--kms-key",
        world.key,
    ]
    argv += [
        "--security-configuration",
        SECURITY_CONFIGURATION,
        "--out",
        out,
        "--endpoint",
        world.url,
    ]
    env = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "AKIAOWNER",
        "AWS_SECRET_ACCESS_KEY": "owner",
    }
    done = subprocess.run(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    expect((done.returncode, done.stderr), (0, ""), "exit code and standard error")
    recorded = [json.loads(file.read_text()) for file in sorted(out.iterdir())]
    asked = {it["operation"] for it in recorded if it["status"] == 200}
    wanted = {
        "GetCallerIdentity",
        "HeadObject",
        "GetKeyPolicy",
        "DescribeCluster",
        "ListInstances",
        "DescribeVolumes",
        "DescribeDhcpOptions",
        "GetRole",
    }
    expect(wanted - asked, set(), "calls that were not answered")
    said = done.stdout.replace(str(out), "") + json.dumps(recorded)
    [cluster] = world.clusters()
    secret = [
        "acme",
        SECURITY_CONFIGURATION,
        world.subnet,
        cluster["Id"],
        cluster["Name"],
        world.key,
        world.key.rpartition("/")[2],
    ]
    expect([text for text in secret if text in said], [], "what is shown of the account")
    expect(
        done.stdout.splitlines()[-1].startswith(f"{len(recorded)} answers are in "),
        True,
        "the last line",
    )
    # moto returns another root element than S3.
    differing = next(line for line in done.stdout.splitlines() if "-s3-GetBucketVersioning" in line)
    expect(differing.endswith("differences"), True, "whether an answer that is not AWS's is told")


# Answered, but with a root element that is not S3's: this confirms nothing.
UNREADABLE = {"s3 GetBucketVersioning", "s3 GetBucketNotificationConfiguration"}

SCENARIOS = [
    a_world_with_everything_in_place_passes_the_check,
    a_check_that_moto_cannot_answer_is_unknown_and_refuses,
    a_bucket_without_default_encryption_refuses,
    a_bucket_that_does_not_exist_refuses,
    a_security_configuration_that_does_not_exist_refuses,
    a_security_configuration_without_encryption_in_transit_refuses,
    a_disabled_key_refuses,
    a_guard_that_looks_at_another_account_refuses,
    an_endpoint_that_the_settings_do_not_allow_is_never_asked,
    a_cluster_that_the_log_never_names_is_found_by_its_tag_and_proved_but_left_unconfirmed,
    a_cluster_without_the_security_configuration_is_terminated,
    a_second_unsafe_cluster_that_the_log_never_names_is_terminated_too,
    termination_protection_is_lifted_from_an_unsafe_cluster,
    a_security_configuration_swapped_between_the_look_and_the_launch_ends_the_cluster,
    a_security_configuration_made_anew_with_the_same_content_ends_the_cluster,
    a_run_whose_steps_complete_is_confirmed,
    volumes_that_are_not_encrypted_end_the_cluster,
    a_cluster_with_an_additional_bootstrap_action_ends,
    an_audit_of_the_configs_locations_finds_them_encrypted,
    an_audit_tells_kinds_and_keys_apart_in_every_version,
    an_audit_of_more_than_a_page_in_folders_sees_every_object_once,
    an_audit_of_a_bucket_that_is_not_there_is_not_clean,
    pages_are_made_of_what_audits_and_repairs_found,
    a_repair_encrypts_what_is_old_in_place_and_loses_nothing,
    the_first_contact_records_answers_and_tells_nothing_of_the_account,
]


def main(programs: pathlib.Path) -> int:
    import setup_scenarios  # pylint: disable=import-outside-toplevel

    worlds = [(World, scenario) for scenario in SCENARIOS]
    worlds += [(setup_scenarios.EmptyWorld, scenario) for scenario in setup_scenarios.SCENARIOS]
    requests = Requests()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    asked = Asked("AKIAGUARD")
    proxy = Proxy(f"http://{host}:{port}", asked)
    certificates = pem_zip()
    failed = []
    for world, scenario in worlds:
        name = scenario.__name__.replace("_", " ")
        began = time.monotonic()
        stage = None
        with tempfile.TemporaryDirectory() as folder:
            try:
                stage = Stage(
                    programs,
                    world(f"http://{host}:{port}", certificates),
                    requests,
                    pathlib.Path(folder),
                    proxy,
                )
                scenario(stage)
            except Exception as error:  # pylint: disable=broad-except
                failed.append(name)
                print(
                    f"moto: FAILED {name}\n{type(error).__name__}: {error}\n{stage.last if stage else ''}"
                )
            else:
                print(f"moto: ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
    proxy.end()
    server.stop()
    asked.calls -= UNREADABLE | setup_scenarios.MADE_UP
    if not failed and asked.compared(pathlib.Path(__file__).with_name("asked.txt"), "moto"):
        failed.append("the list of calls")
    print(f"moto: {len(worlds) + 1 - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    # By its name, so that setup_scenarios.py imports the same module.
    import scenarios

    sys.exit(scenarios.main(pathlib.Path(sys.argv[1]).resolve()))
