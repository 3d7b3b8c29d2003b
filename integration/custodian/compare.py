"""Lets Cloud Custodian and the sentinel look at the same clusters, and compares what each finds with
the table in docs/comparison.md.

    compare.py FOLDER [--write]

FOLDER holds the built emr-etl-guard. With --write, the table is written instead.

The world is moto, as in integration/moto/scenarios.py, which says where moto is less than AWS. In
addition:

- ListSecurityConfigurations, which Custodian needs, is not there: `list_security_configurations`
  answers from moto's own data.
- Volumes are encrypted as the security configuration says, as EMR would; those of one cluster are
  not, as after a mistake in EMR or an image that EMR cannot encrypt.

EMR itself would refuse a security configuration with a switch that is on and a part that is missing
or empty; the ones here are all valid for EMR.
"""

import contextlib
import dataclasses
import difflib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest.mock

from moto.core.responses import ActionResult
from moto.emr.models import ElasticMapReduceBackend
from moto.emr.responses import ElasticMapReduceResponse
from moto.server import ThreadedMotoServer

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "integration"), str(ROOT / "integration" / "moto")]
import scenarios  # pylint: disable=wrong-import-position

PAGE = ROOT / "docs" / "comparison.md"
BEGIN = "<!-- table: integration/custodian/run --write -->\n"
END = "<!-- end of the table -->\n"
POLICIES = ["switches", "with-care"]
# The sentinel's exit code: unsafe clusters live.
UNSAFE = 71
UNENCRYPTED_VOLUMES = "its volumes are not encrypted, whatever its security configuration says"


@dataclasses.dataclass
class Case:
    """A cluster, and the content of its security configuration if it has one."""

    what: str
    content: dict | None
    more: dict = dataclasses.field(default_factory=dict)
    # The number of its subnet.
    subnet: int = 0


def changed(content: dict, *path: str, to=None) -> dict:
    """The content with one value changed, or removed."""
    copy = json.loads(json.dumps(content))
    part = copy["EncryptionConfiguration"]
    for name in path[:-1]:
        part = part[name]
    if to is None:
        del part[path[-1]]
    else:
        part[path[-1]] = to
    return copy


def expected_keys(world: scenarios.World) -> list[str]:
    """The keys that clusters should use: one that works, one that was disabled, and one that was
    deleted.
    """
    disabled = world.kms.create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]
    world.kms.disable_key(KeyId=disabled["KeyId"])
    deleted = world.key.rsplit("/", 1)[0] + "/00000000-0000-4000-8000-000000000000"
    return [world.key, disabled["Arn"], deleted]


def subnets(world: scenarios.World) -> list[str]:
    """The subnets of clusters, one for each of the expected keys."""
    found = [subnet["SubnetId"] for subnet in world.ec2.describe_subnets()["Subnets"]]
    return [world.subnet, *(subnet for subnet in found if subnet != world.subnet)][:3]


def cases(world: scenarios.World, disabled: str, deleted: str) -> list[Case]:
    """The clusters. Both keys are expected in a subnet of their own."""
    at_rest = "AtRestEncryptionConfiguration"
    disk = (at_rest, "LocalDiskEncryptionConfiguration")
    in_s3 = (at_rest, "S3EncryptionConfiguration")

    def under(key: str) -> dict:
        return {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key}

    def only(key: str) -> dict:
        return changed(changed(good, *in_s3, to=under(key)), *disk, "AwsKmsKey", to=key)

    good = changed(world.content(), *in_s3, to=under(world.key))
    certificates = ("InTransitEncryptionConfiguration", "TLSCertificateConfiguration")
    other_key = world.kms.create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]

    def weakened(classification: str, **properties: str) -> dict:
        names = {name.replace("_", "."): value for name, value in properties.items()}
        return {"Configurations": [{"Classification": classification, "Properties": names}]}

    spark = {
        "Name": "copy",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": ["spark-submit", "--conf", "spark.authenticate=false", "s3://acme-etl/job.py"],
        },
    }
    return [
        Case("encrypted in all parts", good),
        Case("no security configuration", None),
        Case("encryption at rest is off", changed(good, "EnableAtRestEncryption", to=False)),
        Case("encryption in transit is off", changed(good, "EnableInTransitEncryption", to=False)),
        Case("both switches are on; there is no part for local disks", changed(good, *disk)),
        Case(
            "both switches are on; there is no part for S3",
            changed(good, *in_s3),
        ),
        Case(
            "LUKS only: EBS volumes are not encrypted", changed(good, *disk, "EnableEbsEncryption")
        ),
        Case(
            "local disks: another key than the expected one",
            changed(good, *disk, "AwsKmsKey", to=other_key),
        ),
        Case(
            "S3: another key than the expected one",
            changed(good, *in_s3, to=under(other_key)),
        ),
        Case(
            "the expected key, disabled since",
            only(disabled),
            subnet=1,
        ),
        Case(
            "the expected key, deleted since",
            only(deleted),
            subnet=2,
        ),
        Case(
            "certificates that do not exist",
            changed(good, *certificates, "S3Object", to="s3://acme-etl/certs/none.zip"),
        ),
        Case(UNENCRYPTED_VOLUMES, good),
        Case(
            "`core-site` weakens RPC",
            good,
            weakened("core-site", hadoop_rpc_protection="authentication"),
        ),
        Case(
            "`hdfs-site` switches the encryption of transfers off",
            good,
            weakened("hdfs-site", dfs_encrypt_data_transfer="false"),
        ),
        Case("a step switches Spark's encryption off", good, {"Steps": [spark]}),
    ]


def list_security_configurations(response: ElasticMapReduceResponse) -> ActionResult:
    """Missing in moto."""
    known = response.backend.security_configurations.values()
    return ActionResult({"SecurityConfigurations": list(known)})


class Ebs:
    """Missing in moto: the volumes of a cluster's instances are encrypted, if its security
    configuration says so.
    """

    def __init__(self):
        self.run_instances = ElasticMapReduceBackend.run_instances

    def __call__(self, backend, cluster_id, *args, **kwargs):
        self.run_instances(backend, cluster_id, *args, **kwargs)
        cluster = backend.clusters[cluster_id]
        stored = backend.security_configurations.get(cluster.security_configuration)
        if stored is None or cluster.name == UNENCRYPTED_VOLUMES:
            return
        encryption = json.loads(stored.security_configuration)["EncryptionConfiguration"]
        at_rest = encryption.get("AtRestEncryptionConfiguration", {})
        disk = at_rest.get("LocalDiskEncryptionConfiguration", {})
        if not encryption["EnableAtRestEncryption"] or not disk.get("EnableEbsEncryption"):
            return
        for instance in cluster.ec2_instances:
            for device in instance.ec2_instance.block_device_mapping.values():
                volume = backend.ec2_backend.volumes[device.volume_id]
                volume.encrypted, volume.kms_key_id = True, disk["AwsKmsKey"]


@contextlib.contextmanager
def completed_moto():
    """moto with what it lacks."""
    with (
        unittest.mock.patch.object(
            ElasticMapReduceResponse,
            "list_security_configurations",
            list_security_configurations,
            create=True,
        ),
        unittest.mock.patch.object(
            ElasticMapReduceBackend, "run_instances", autospec=True, side_effect=Ebs()
        ),
    ):
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            yield "http://{}:{}".format(*server.get_host_and_port())
        finally:
            server.stop()


def launch(world: scenarios.World, case: Case, number: int) -> str:
    """Starts the cluster of a case, and gives its id."""
    request = {
        "Name": case.what,
        "ReleaseLabel": "emr-6.15.0",
        "Instances": {
            # moto makes instances for groups alone.
            "InstanceGroups": [
                {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": 1}
                for role in ("MASTER", "CORE")
            ],
            "KeepJobFlowAliveWhenNoSteps": True,
            "Ec2SubnetId": subnets(world)[case.subnet],
        },
        "JobFlowRole": scenarios.ROLE,
        "ServiceRole": scenarios.SERVICE_ROLE,
        "LogUri": "s3://acme-log/",
        **case.more,
    }
    if case.content is not None:
        name = f"sc-{number}"
        world.emr.create_security_configuration(
            Name=name, SecurityConfiguration=json.dumps(case.content)
        )
        request["SecurityConfiguration"] = name
    return world.emr.run_job_flow(**request)["JobFlowId"]


def environment(url: str, folder: pathlib.Path, key: str) -> dict[str, str]:
    """Nothing from this machine's own environment, profiles or caches."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": scenarios.REGION,
        "AWS_REGION": scenarios.REGION,
    }


def custodian(url: str, folder: pathlib.Path, keys: list[str]) -> dict[str, set[str]]:
    """The ids of the clusters that each of Custodian's policies finds."""
    policies = (HERE / "policies.yml").read_text().replace("EXPECTED_KEYS", json.dumps(keys))
    (folder / "policies.yml").write_text(policies)
    program = pathlib.Path(sys.executable).with_name("custodian")
    subprocess.run(
        [program, "run", "--region", scenarios.REGION, "--cache-period", "0"]
        + ["--output-dir", folder / "custodian", folder / "policies.yml"],
        env=environment(url, folder, "AKIACUSTODIAN"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=True,
    )
    return {
        name: {
            cluster["Id"]
            for cluster in json.loads((folder / "custodian" / name / "resources.json").read_text())
        }
        for name in POLICIES
    }


def sentinel(
    url: str, folder: pathlib.Path, programs: pathlib.Path, keys: dict[str, str]
) -> dict[str, dict]:
    """What the sentinel's report says of each cluster, by its id; `keys` are the expected ones by subnet."""
    rules = [
        {"name": f"rule-{number}", "match": {"subnet": subnet}, "expected_keys": [key]}
        for number, (subnet, key) in enumerate(keys.items())
    ]
    # JSON is YAML.
    settings = {"sentinel": {"regions": [scenarios.REGION], "rules": rules}}
    (folder / "guard.yml").write_text(json.dumps(settings))
    report = folder / "report.json"
    env = environment(url, folder, "AKIAGUARD") | {
        "EMR_ETL_GUARD_SETTINGS": str(folder / "guard.yml"),
        "EMR_ETL_GUARD_ALLOW_ENDPOINTS": url,
        "EMR_ETL_GUARD_STATE_DIR": str(folder / "state"),
        "EMR_ETL_GUARD_REPORT": str(report),
        # moto has no answer to the calls of these checks.
        "EMR_ETL_GUARD_ADVISE": ",".join(sorted(scenarios.UNANSWERED)),
    }
    done = subprocess.run(
        [programs / "emr-etl-guard", "sentinel", "--once"],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != UNSAFE:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return {cluster["id"]: cluster for cluster in json.loads(report.read_text())["clusters"]}


def row(case: Case, cluster: str, found: dict[str, set[str]], judged: dict) -> str:
    """One line of the table."""
    seen = judged[cluster]
    failed = sorted({it["check"] for it in seen["open"] if it["status"] == "failed"})
    said = seen["verdict"] + (": " + ", ".join(f"`{check}`" for check in failed) if failed else "")
    ours = ["found" if cluster in found[policy] else "–" for policy in POLICIES]
    return f"| {case.what} | {' | '.join(ours)} | {said} |\n"


def table(programs: pathlib.Path) -> str:
    """The table, from a new world."""
    lines = [
        "| cluster | Custodian, switches | Custodian, with care | sentinel |\n",
        "|---|---|---|---|\n",
    ]
    with completed_moto() as url, tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        world = scenarios.World(url, scenarios.pem_zip())
        keys = expected_keys(world)
        launched = [
            (case, launch(world, case, number))
            for number, case in enumerate(cases(world, *keys[1:]))
        ]
        found = custodian(url, folder, keys)
        judged = sentinel(url, folder, programs, dict(zip(subnets(world), keys)))
    return "".join(lines + [row(case, id, found, judged) for case, id in launched])


def main(programs: pathlib.Path, writes: bool) -> int:
    # moto logs an error for each call that it does not know: they are kept, and not printed.
    scenarios.Requests()
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    present, after = rest.split(END)
    wanted = table(programs)
    if writes:
        PAGE.write_text(before + BEGIN + wanted + END + after)
    elif present != wanted:
        changes = difflib.unified_diff(present.splitlines(), wanted.splitlines(), lineterm="")
        print(
            "custodian: FAILED: docs/comparison.md differs from what the two find now; if that is"
        )
        print("right, write it by `integration/custodian/run --write`", *changes, sep="\n")
        return 1
    print(f"custodian: {wanted.count(chr(10)) - 2} clusters judged as docs/comparison.md says")
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), "--write" in sys.argv[2:]))
