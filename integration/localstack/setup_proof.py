"""Owns the proofs in which `setup` makes, on LocalStack, what a run needs, and takes it back.

LocalStack is a process of its own, so nothing is added to it. What it lacks is left out of the
setup by `--without`, and made by boto3 where something else needs it.
`what_setup_needs_and_localstack_lacks` fails if one of these is no longer so.

- EMR is not there (HTTP 501): no security configuration is made, and `check` refuses.
- SimulatePrincipalPolicy knows managed policies alone, and answers for a role or a user with HTTP
  500: what one that exists lacks is unknown.
- GetBucketEncryption does not show which kinds of encryption a bucket blocks: default encryptions
  are made by boto3.
- GetBucketPolicyStatus is not there (HTTP 501): nothing that is required depends on it.
"""

import json
import os
import pathlib
import subprocess
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from setup_account import (  # pylint: disable=wrong-import-position
    ALIAS,
    INLINE,
    Account,
    equal,
    kept,
    plan_of,
)

RECORDINGS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "recordings"
ACCOUNT, REGION = "000000000000", "eu-west-1"
RUN = ("config.yml", "-r", "resolver.json")
LEFT_OUT = "security-configuration,bucket-encryption,launcher"
REFUSED, FACTS_UNKNOWN = 77, 69

NO_SIMULATION = ("iam SimulatePrincipalPolicy", 500, "InternalError")
NO_STATUS = ("s3 GetBucketPolicyStatus", 501, "InternalFailure")


def no_emr(operation: str) -> tuple[str, int, str]:
    """What each call of EMR is answered with."""
    return (f"elasticmapreduce {operation}", 501, "InternalFailure")


# The checks that LocalStack does not answer, and those that fail since there is no EMR.
UNANSWERED = {
    "clusters-can-be-listed",
    "jobflow-role-may-use-key",
    "guard-may-end-clusters",
    "runner-may-tag-clusters",
    "organization-allows",
}
OPEN = {"clusters-can-be-listed", "security-configuration-exists"}


def client(url: str, service: str):
    """Of the account's owner; asks once."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="owner",
        aws_secret_access_key="owner",
        config=Config(retries={"total_max_attempts": 1}),
    )


def refusal(call, **arguments) -> tuple:
    """The status and the code of an error."""
    try:
        call(**arguments)
    except ClientError as error:
        response = error.response
        return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]
    return ()


def what_setup_needs_and_localstack_lacks(_programs, s3, _proxy, _folder):
    """Each call that is not there, or whose answer is not that of AWS."""
    iam, emr, buckets = (client(s3.url, service) for service in ("iam", "emr", "s3"))
    user = iam.create_user(UserName="somebody")["User"]["Arn"]
    bucket = {"Bucket": "acme-some"}
    buckets.create_bucket(**bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    body = (
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>"
        "AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BlockedEncryptionTypes>"
        "<EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule>"
        "</ServerSideEncryptionConfiguration>"
    )
    # This boto3 does not know the setting yet.
    put = s3.ask("PUT", "/acme-some?encryption", body=body.encode())
    shown = s3.ask("GET", "/acme-some?encryption").body
    lacks = {
        "EMR": refusal(emr.list_clusters),
        "SimulatePrincipalPolicy": refusal(
            iam.simulate_principal_policy,
            PolicySourceArn=user,
            ActionNames=["s3:GetObject"],
            ResourceArns=["*"],
        ),
        "BlockedEncryptionTypes": (put.status, "BlockedEncryptionTypes" in shown),
        "GetBucketPolicyStatus": refusal(buckets.get_bucket_policy_status, **bucket),
    }
    wanted = {
        "EMR": (501, "InternalFailure"),
        "SimulatePrincipalPolicy": (500, "InternalError"),
        "BlockedEncryptionTypes": (200, False),
        "GetBucketPolicyStatus": (501, "InternalFailure"),
    }
    buckets.delete_bucket(**bucket)
    iam.delete_user(UserName="somebody")
    equal(lacks, wanted, "what LocalStack lacks")
    equal(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] in shown, True, "its default")


class Place:
    """An account with a network and two users, and a folder with a config for it."""

    def __init__(self, programs: pathlib.Path, url: str, proxy, folder: pathlib.Path):
        self.programs, self.proxy, self.folder = programs, proxy, folder / "setup"
        self.folder.mkdir()
        clients = {service: client(url, service) for service in ("s3", "iam", "kms")}
        self.account = Account(ACCOUNT, REGION, clients)
        ec2 = client(url, "ec2")
        subnet = ec2.describe_subnets()["Subnets"][0]
        options = [
            {"Key": "domain-name", "Values": [f"{REGION}.compute.internal"]},
            {"Key": "domain-name-servers", "Values": ["AmazonProvidedDNS"]},
        ]
        dhcp = ec2.create_dhcp_options(DhcpConfigurations=options)["DhcpOptions"]["DhcpOptionsId"]
        ec2.associate_dhcp_options(DhcpOptionsId=dhcp, VpcId=subnet["VpcId"])
        ec2.modify_vpc_attribute(VpcId=subnet["VpcId"], EnableDnsHostnames={"Value": True})
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "EMR_ETL_GUARD_SETTINGS": str(self.folder / "guard.yml"),
            "EMR_ETL_GUARD_ALLOW_ENDPOINTS": proxy.url,
            "EMR_ETL_GUARD_STATE_DIR": str(self.folder / "state"),
            "EMR_ETL_GUARD_RUNNER": str(programs / "standin-runner"),
            "EMR_ETL_GUARD_REPORT": str(self.folder / "report.json"),
            "STANDIN_JOURNAL": str(self.folder / "journal"),
        }
        for user, names in (
            ("guard", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
            ("runner", ("AWS_SNOWPLOW_ACCESS_KEY", "AWS_SNOWPLOW_SECRET_KEY")),
        ):
            clients["iam"].create_user(UserName=user)
            key = clients["iam"].create_access_key(UserName=user)["AccessKey"]
            self.env.update(zip(names, (key["AccessKeyId"], key["SecretAccessKey"])))
        proxy.asked.access_keys.add(self.env["AWS_ACCESS_KEY_ID"])
        config = (RECORDINGS / "config.yml").read_text()
        recorded = "subnet-0123456789abcdef0"
        equal(config.count(recorded), 1, "how often the subnet stands in the recorded config")
        (self.folder / "config.yml").write_text(config.replace(recorded, subnet["SubnetId"]))
        (self.folder / "resolver.json").write_text((RECORDINGS / "resolver.json").read_text())
        (self.folder / "guard.yml").write_text("")

    def call(self, command: str, *words: str, code: int, errors: set) -> dict:
        """Calls the guard, which must end with this exit code and these errors of LocalStack;
        returns its report.
        """
        self.proxy.asked.errors.clear()
        (self.folder / "report.json").unlink(missing_ok=True)
        done = subprocess.run(
            [self.programs / "emr-etl-guard", command, *words, *RUN],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        what = f"`{command} {' '.join(words)}`"
        said = f"{what}\n{done.stdout}\n{done.stderr}\n"
        equal(done.returncode, code, f"{said}exit code")
        equal(self.proxy.asked.errors, errors, f"errors that LocalStack answered to {what}")
        report = self.folder / "report.json"
        return json.loads(report.read_text()) if report.exists() else {}


def from_an_empty_account_setup_makes_what_it_can_and_takes_it_back(programs, s3, proxy, folder):
    """Roles, key, buckets, policies and certificates; and `check`, and the undo."""
    place = Place(programs, s3.url, proxy, folder)
    account = place.account
    before = account.all()
    look = {NO_SIMULATION, no_emr("ListClusters"), no_emr("DescribeSecurityConfiguration")}

    # The plan: what LocalStack lacks is unknown, and nothing else.
    report = place.call("setup", code=FACTS_UNKNOWN, errors=look)
    [policy, configuration] = plan_of(report, "unknown", "refuse")
    equal(policy, f"inline policy {INLINE} of runner", "what is unknown")
    equal(configuration.startswith("security configuration emr-etl-"), True, configuration)
    equal((account.all(), account.aliases()), (before, []), "the account after the plan")

    # Live.
    apply = ("--apply", f"--without={LEFT_OUT}")
    report = place.call("setup", *apply, code=FACTS_UNKNOWN, errors=look | {NO_STATUS})
    equal(plan_of(report, "change", "refuse", "unknown"), [], "what is not made")
    equal(set(report["left"]) & OPEN, OPEN, "what is left to people")
    steps = report["record"]["steps"]
    equal([step for step in steps if not step["verified"]], [], "steps that were not seen")
    (place.folder / "report.json").rename(place.folder / "made.json")
    account.expect_roles()
    account.expect_key()
    account.expect_buckets(has_encryption=False)
    account.expect_archive(f"{REGION}.compute.internal")
    for bucket in account.buckets:
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": account.key()["Arn"]}
        rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
        account.s3.put_bucket_encryption(
            Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
        )

    # Again: there is nothing to do, and nothing is done.
    made = account.all()
    again = ("--apply", f"--without={LEFT_OUT},role-policies")
    report = place.call("setup", *again, code=REFUSED, errors=look | {NO_STATUS})
    equal(plan_of(report, "create", "change", "refuse", "unknown"), [], "what is to do")
    equal((account.all(), account.aliases()), (made, [ALIAS]), "the account after it")

    # `check` finds no fault with what was made.
    look_again = {NO_SIMULATION, no_emr("ListClusters")}
    report = place.call("check", code=REFUSED, errors=look_again)
    findings = report["findings"]
    unknown = {
        it["check"] for it in findings if it["status"] == "unknown" and "waits_for" not in it
    }
    equal(unknown, UNANSWERED, "checks without an answer")
    is_open = {
        it["check"]
        for it in findings
        if it["level"] == "required"
        and it["status"] not in ("passed", "not-applicable")
        and "waits_for" not in it
    }
    equal(is_open, OPEN | {"jobflow-role-may-use-key"}, "required checks that are open")

    # What a cluster may use is unknown without EMR, and stays; so does what protects certificates.
    place.call("setup", "--undo=made.json", code=0, errors=set())
    equal(account.all(), made, "the account after an undo without --apply")
    errors = {no_emr("ListClusters"), no_emr("ListSecurityConfigurations")}
    undo = ("--undo=made.json", "--apply")
    report = place.call("setup", *undo, code=FACTS_UNKNOWN, errors=errors)
    stays = [
        "bucket kept",
        "bucket-policy kept",
        "certificates unknown",
        "inline-policy unknown",
        "instance-profile unknown",
        "key kept",
        "role unknown",
    ]
    equal(kept(report), stays, "what stays")
    left = account.all()
    for kind in ("roles", "profiles", "users"):
        equal(left[kind], made[kind], f"the {kind} that are left")
    wanted = {account.certificates: made["buckets"][account.certificates]}
    equal(left["buckets"], wanted, "the buckets that are left, and their settings")
    account.expect_key()
