"""Owns the scenarios in which `setup` makes, on moto, what a run needs, and takes it back.

Where moto is less than AWS, and what is done about it. `what_setup_needs_and_moto_lacks` fails if
one of these is no longer so.

- SimulatePrincipalPolicy is not there: what a role or user that exists lacks is unknown. The
  runner's user gets its rights by `--without launcher` and not by `setup`, and once the role of the
  instances exists, `--without role-policies` leaves its policy out.
- GetBucketEncryption does not show which kinds of encryption a bucket blocks, although moto keeps
  them: `SseC` shows them.
- A statement of a bucket policy applies also where its condition does not, so that a bucket with
  the policy of `setup` denies every request for an object: `Conditions` leaves statements with a
  condition out of moto's decisions. What the policies say is compared.
- ListSecurityConfigurations is not there: whether another security configuration names the
  certificates is unknown, so an undo keeps them and what protects them. `Configurations` lists them.
- A new bucket has neither a default encryption nor a public access block, as all of AWS's have.
- AWS's managed policies are there only if a variable asks for them.
- GetCallerIdentity knows no user for a key that was not issued: guard and runner are users here.
"""

import contextlib
import json
import os
import unittest.mock

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto.core.responses import ActionResult
from moto.emr.responses import ElasticMapReduceResponse
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.s3.responses import S3Response
from scenarios import FACTS_UNKNOWN, UNANSWERED, UNANSWERED_ADVICE, Stage, World, expect
from setup_account import (
    ALIAS,
    INLINE,
    INSTANCE_ROLE,
    MANAGED,
    SERVICE_ROLE,
    Account,
    kept,
    plan_of,
    results_of,
)

ACCOUNT, REGION = "123456789012", "us-east-1"
RUN = ("config.yml", "-r", "resolver.json")
MANAGED_POLICIES = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
NO_SIMULATION = ("iam SimulatePrincipalPolicy", 500, "")
# Answered by what stands here, and not by moto: this confirms nothing.
MADE_UP = {"elasticmapreduce ListSecurityConfigurations"}
NO_LIST = ("elasticmapreduce ListSecurityConfigurations", 500, "")


class EmptyWorld(World):
    """An account with a network and two users, and nothing else."""

    configured = ""

    def __init__(self, url: str, certificates: bytes):
        # moto reads it when IAM is first used after a reset.
        with unittest.mock.patch.dict(os.environ, MANAGED_POLICIES):
            super().__init__(url, certificates)

    def seed(self, certificates: bytes):
        self.credentials = {}
        for user, names in (
            ("guard", ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
            ("runner", ("AWS_SNOWPLOW_ACCESS_KEY", "AWS_SNOWPLOW_SECRET_KEY")),
        ):
            self.iam.create_user(UserName=user)
            key = self.iam.create_access_key(UserName=user)["AccessKey"]
            self.credentials.update(zip(names, (key["AccessKeyId"], key["SecretAccessKey"])))

    def account(self) -> Account:
        """The account, by boto3."""
        clients = {"s3": self.s3, "iam": self.iam, "kms": self.kms, "elasticmapreduce": self.emr}
        return Account(ACCOUNT, REGION, clients)


class SseC:
    """Missing in moto: GetBucketEncryption shows what a bucket blocks."""

    def __init__(self):
        self.serialized = S3Response.serialized

    def __call__(self, response, result):
        shown = result.result
        if isinstance(shown, dict) and "ServerSideEncryptionConfiguration" in shown:
            rule = response.backend.get_bucket_encryption(response.bucket_name)["Rule"]
            blocked = rule.get("BlockedEncryptionTypes")
            if blocked:
                [shown] = shown["ServerSideEncryptionConfiguration"]["Rules"]
                shown["BlockedEncryptionTypes"] = {"EncryptionType": [blocked["EncryptionType"]]}
        return self.serialized(response, result)

    @classmethod
    def at_work(cls):
        """The time in which it is shown."""
        return unittest.mock.patch.object(
            S3Response, "serialized", autospec=True, side_effect=cls()
        )


class Conditions:
    """Missing in moto: a statement applies only if its condition does. None of those that `setup`
    writes applies to the requests of these scenarios.
    """

    def __init__(self):
        self.is_action_permitted = IAMPolicyStatement.is_action_permitted

    def __call__(self, statement, *args, **kwargs):
        if "Condition" in statement._statement:  # pylint: disable=protected-access
            return PermissionResult.NEUTRAL
        return self.is_action_permitted(statement, *args, **kwargs)

    @classmethod
    def at_work(cls):
        """The time in which conditions are seen."""
        return unittest.mock.patch.object(
            IAMPolicyStatement, "is_action_permitted", autospec=True, side_effect=cls()
        )


class Configurations:
    """Missing in moto: ListSecurityConfigurations."""

    @staticmethod
    def listed(response: ElasticMapReduceResponse) -> ActionResult:
        """The names of all."""
        listed = [{"Name": name} for name in response.backend.security_configurations]
        return ActionResult({"SecurityConfigurations": listed})

    @classmethod
    def at_work(cls):
        """The time in which they are listed."""
        return unittest.mock.patch.object(
            ElasticMapReduceResponse, "list_security_configurations", cls.listed, create=True
        )


@contextlib.contextmanager
def a_little_more_of_aws():
    """The time in which moto has what `setup` needs to see."""
    with SseC.at_work(), Conditions.at_work():
        yield


def refusal(call, **arguments) -> tuple:
    """The status and the code of an error."""
    try:
        call(**arguments)
    except ResponseParserError:
        # A page of the server's, and no answer of AWS's.
        return ("no answer",)
    except ClientError as error:
        response = error.response
        return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]
    return ()


def what_setup_needs_and_moto_lacks(stage: Stage):
    world = stage.world
    once = Config(retries={"total_max_attempts": 1})
    iam, emr, s3 = (world.client(service, config=once) for service in ("iam", "emr", "s3"))
    bucket = {"Bucket": "acme-new"}
    s3.create_bucket(**bucket)
    lacks = {
        "SimulatePrincipalPolicy": refusal(
            iam.simulate_principal_policy,
            PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/guard",
            ActionNames=["s3:GetObject"],
        ),
        "ListSecurityConfigurations": refusal(emr.list_security_configurations),
        "a default encryption of new buckets": refusal(s3.get_bucket_encryption, **bucket),
        "a public access block of new buckets": refusal(s3.get_public_access_block, **bucket),
    }
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
        "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]},
    }
    s3.put_bucket_encryption(**bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    [shown] = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    lacks["BlockedEncryptionTypes"] = shown.get("BlockedEncryptionTypes")
    s3.put_object(**bucket, Key="a", Body=b"x")
    # This request comes over plain http, so the statement does not apply to it.
    over_tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "arn:aws:s3:::acme-new/*",
        "Condition": {"Bool": {"aws:SecureTransport": "true"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [over_tls]}
    s3.put_bucket_policy(**bucket, Policy=json.dumps(policy))
    lacks["conditions of bucket policies"] = refusal(s3.head_object, **bucket, Key="a")
    World(world.url, b"")
    lacks["managed policies"] = refusal(
        iam.attach_role_policy, RoleName=SERVICE_ROLE, PolicyArn=MANAGED
    )
    wanted = {
        "SimulatePrincipalPolicy": ("no answer",),
        "ListSecurityConfigurations": (500, "500"),
        "a default encryption of new buckets": (
            404,
            "ServerSideEncryptionConfigurationNotFoundError",
        ),
        "a public access block of new buckets": (404, "NoSuchPublicAccessBlockConfiguration"),
        "BlockedEncryptionTypes": None,
        "conditions of bucket policies": (403, "403"),
        "managed policies": (404, "NoSuchEntity"),
    }
    expect(lacks, wanted, "what moto lacks")


def from_an_empty_account_setup_makes_everything_and_takes_it_back(stage: Stage):
    world = stage.world
    account, asked = world.account(), stage.proxy.asked
    asked.access_keys.add(world.credentials["AWS_ACCESS_KEY_ID"])
    before = account.all()

    def setup(*words: str, more: set = frozenset()):
        asked.errors.clear()
        ended = stage.call("setup", *words, *RUN, **world.credentials)
        expect(
            asked.errors,
            ({NO_SIMULATION} if not any(it.startswith("--undo") for it in words) else set()) | more,
            f"answers of moto that are errors, to `setup {' '.join(words)}`",
        )
        return ended

    with a_little_more_of_aws():
        # The plan: one piece is unknown, by the call that moto lacks.
        ended = setup()
        expect(ended.code, FACTS_UNKNOWN, "exit code of the whole plan")
        unknown = plan_of(ended.report, "unknown", "refuse")
        expect(unknown, [f"inline policy {INLINE} of runner"], "what is unknown or refused")
        expect(setup("--without=launcher").code, 0, "exit code of the plan")
        expect((account.all(), account.aliases()), (before, []), "the account after the plans")

        # Live.
        ended = setup("--apply", "--without=launcher", "--write-config")
        expect(ended.code, FACTS_UNKNOWN, "exit code of --apply, by the call that moto lacks")
        expect(
            "the plan was carried out; not everything could be looked at afterwards"
            in ended.stdout + ended.stderr,
            True,
            "whether it says that the plan was carried out",
        )
        steps = ended.report["record"]["steps"]
        planned = set(plan_of(ended.report, "create"))
        expect(len(steps), len(planned), "steps")
        open_steps = [step for step in steps if not step["verified"]]
        expect(open_steps, [], "steps that were not seen afterwards")
        requests = [call["request"] for step in steps for call in step["calls"]]
        expect([it for it in requests if not it], [], "calls without a request id")
        (stage.folder / "report.json").rename(stage.folder / "made.json")
        name = ended.report["security_configuration"]
        account.expect_roles()
        account.expect_key()
        account.expect_buckets(has_encryption=True)
        account.expect_archive("ec2.internal")
        account.expect_configuration(name)
        expect_config(stage, name)

        # Again: there is nothing to do, and nothing is done.
        made = account.all()
        ended = setup("--apply", "--without=launcher,role-policies")
        expect(ended.code, 0, "exit code of another --apply")
        expect(plan_of(ended.report, "create", "change", "refuse", "unknown"), [], "what is to do")
        # The key's policy is a piece of its own once there is a key.
        others = {f"inline policy {INLINE} of {INSTANCE_ROLE}", f"KMS key {ALIAS}"}
        missing = planned - set(plan_of(ended.report, "keep")) - others
        expect(missing, set(), "what was made and is not in place")
        expect((account.all(), account.aliases()), (made, [ALIAS]), "the account after it")

        # `check` passes, as far as moto answers.
        ended = stage.call("check", *RUN, **world.credentials)
        expect((ended.code, ended.open()), (0, set()), "exit code, and what is open")
        unknown = {
            finding["check"] for finding in ended.findings() if finding["status"] == "unknown"
        }
        expect(unknown, UNANSWERED | UNANSWERED_ADVICE, "checks without an answer")

        # Without --apply, an undo changes nothing.
        expect(setup("--undo=made.json").code, 0, "exit code of --undo")
        expect(account.all(), made, "the account after it")

        # What uses the certificates is unknown: they stay, and so does what protects them.
        ended = setup("--undo=made.json", "--apply", more={NO_LIST})
        expect(ended.code, FACTS_UNKNOWN, "exit code of --undo --apply")
        expect(
            kept(ended.report),
            [
                "bucket kept",
                "bucket-encryption kept",
                "bucket-policy kept",
                "certificates unknown",
                "key kept",
                "public-access-block kept",
            ],
            "what stays",
        )
        left = account.all()["buckets"]
        expect(
            left,
            {account.certificates: made["buckets"][account.certificates]},
            "buckets that are left, and their settings",
        )

        # With an answer, everything goes but the key.
        with Configurations.at_work():
            ended = setup("--undo=made.json", "--apply")
    expect(ended.code, 0, "exit code of another --undo --apply")
    expect(kept(ended.report), ["key kept"], "what stays")
    [certificates] = results_of(ended.report)["certificates"]
    expect(certificates["result"]["result"], "undone", "what came of the certificates")
    expect(account.all(), before, "the account after it")
    account.expect_key()


def expect_config(stage: Stage, name: str):
    """The config differs from the one that there was in the two settings alone."""
    lines = (stage.folder / "config.yml").read_text().splitlines()
    earlier = stage.world.config().splitlines()
    expect(len(lines), len(earlier), "lines of the config")
    changed = [new.strip() for new, old in zip(lines, earlier) if new != old]
    expect(
        [line.split(" #")[0].strip() for line in changed],
        ["encrypted: true", f"security_configuration: {name}"],
        "lines of the config that are changed",
    )


SCENARIOS = [
    what_setup_needs_and_moto_lacks,
    from_an_empty_account_setup_makes_everything_and_takes_it_back,
]
