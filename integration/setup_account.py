"""Looks with boto3 at what `setup --apply` has made in an account that others simulate, and compares
it with what is written here by hand.
"""

import datetime
import io
import json
import sys
import zipfile

from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import serialization

SERVICE_ROLE = "EMR_DefaultRole"
INSTANCE_ROLE = "EMR_EC2_DefaultRole"
MANAGED = "arn:aws:iam::aws:policy/service-role/AmazonElasticMapReduceRole"
INLINE = "emr-etl-emr-etl-guard"
ALIAS = "alias/emr-etl"
ARCHIVE = "emr-certificates.zip"
BUCKETS = ["acme-archive", "acme-etl", "acme-log", "acme-out", "acme-raw-in", "acme-raw-in2"]
ALL_BLOCKED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def equal(saw, wanted, what: str):
    """Raises if the value differs from the expected one."""
    if saw != wanted:
        raise AssertionError(f"{what}: saw {saw!r}, wanted {wanted!r}")


def plan_of(report: dict, *actions: str) -> list[str]:
    """The pieces of a report's plan with one of these actions, as `kind subject`."""
    return [
        f"{step['kind']} {step['subject']}" for step in report["plan"] if step["action"] in actions
    ]


def results_of(report: dict) -> dict[str, list[dict]]:
    """What came of each piece in the report of an undo, by kind."""
    found: dict[str, list[dict]] = {}
    for step in report["taken_back"]:
        found.setdefault(step["piece"]["kind"], []).append(step)
    return found


def kept(report: dict) -> list[str]:
    """The pieces that stayed in an undo, as `kind result`, each once."""
    stayed = (
        f"{step['piece']['kind']} {step['result']['result']}"
        for step in report["taken_back"]
        if step["result"]["result"] not in ("undone", "gone")
    )
    return sorted(set(stayed))


class Account:
    """An account, by boto3's clients for it."""

    def __init__(self, account: str, region: str, clients: dict):
        self.account, self.region = account, region
        self.s3, self.iam, self.kms = clients["s3"], clients["iam"], clients["kms"]
        self.emr = clients.get("elasticmapreduce")
        self.certificates = f"emr-etl-certificates-{account}-{region}"
        self.buckets = [*BUCKETS, self.certificates]

    def arn(self, resource: str) -> str:
        """The ARN of a role or user."""
        return f"arn:aws:iam::{self.account}:{resource}"

    def of_bucket(self, bucket: str) -> dict:
        """The settings of a bucket; none where it has none of its own."""

        def asked(call, part: str):
            try:
                return call(Bucket=bucket)[part]
            except ClientError:
                return None

        policy = asked(self.s3.get_bucket_policy, "Policy")
        encryption = asked(self.s3.get_bucket_encryption, "ServerSideEncryptionConfiguration")
        listed = self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {
            "encryption": encryption and encryption["Rules"],
            "policy": policy and json.loads(policy),
            "block": asked(self.s3.get_public_access_block, "PublicAccessBlockConfiguration"),
            "objects": [found["Key"] for found in listed],
        }

    def of_role(self, role: dict) -> dict:
        """What matters of a role."""
        name = {"RoleName": role["RoleName"]}
        attached = self.iam.list_attached_role_policies(**name)["AttachedPolicies"]
        profiles = self.iam.list_instance_profiles_for_role(**name)["InstanceProfiles"]
        return {
            "trust": self.iam.get_role(**name)["Role"]["AssumeRolePolicyDocument"],
            "attached": [policy["PolicyArn"] for policy in attached],
            "inline": {
                policy: self.iam.get_role_policy(**name, PolicyName=policy)["PolicyDocument"]
                for policy in self.iam.list_role_policies(**name)["PolicyNames"]
            },
            "profiles": [profile["InstanceProfileName"] for profile in profiles],
        }

    def all(self) -> dict:
        """Everything in it but keys."""
        profiles = self.iam.list_instance_profiles()["InstanceProfiles"]
        users = self.iam.list_users()["Users"]
        return {
            "buckets": {
                bucket["Name"]: self.of_bucket(bucket["Name"])
                for bucket in self.s3.list_buckets()["Buckets"]
            },
            "roles": {
                role["RoleName"]: self.of_role(role) for role in self.iam.list_roles()["Roles"]
            },
            "profiles": [profile["InstanceProfileName"] for profile in profiles],
            "users": {
                user["UserName"]: self.iam.list_user_policies(UserName=user["UserName"])[
                    "PolicyNames"
                ]
                for user in users
            },
        }

    def aliases(self) -> list[str]:
        """The aliases that AWS has not made."""
        listed = self.kms.list_aliases()["Aliases"]
        names = [alias["AliasName"] for alias in listed]
        return [name for name in names if not name.startswith("alias/aws/")]

    def key(self) -> dict:
        """The key with setup's alias."""
        return self.kms.describe_key(KeyId=ALIAS)["KeyMetadata"]

    def expect_key(self):
        """A symmetric key that is rotated, and that the cluster and the guard alone may use."""
        key = self.key()
        shown = (key["KeyState"], key["KeyUsage"], key["KeySpec"], key["KeyManager"])
        equal(shown, ("Enabled", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "CUSTOMER"), "the key")
        equal(self.aliases(), [ALIAS], "aliases")
        rotation = self.kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]
        equal(rotation, True, "whether the key is rotated")
        policy = json.loads(
            self.kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]
        )
        allowed: dict[str, set] = {}
        for statement in policy["Statement"]:
            equal(statement["Effect"], "Allow", "the effect of a statement of the key policy")
            actions = statement["Action"]
            holder = statement["Principal"]["AWS"]
            allowed.setdefault(holder, set()).update(
                [actions] if isinstance(actions, str) else actions
            )
        guard, root = self.arn("user/guard"), self.arn("root")
        instances, service = self.arn(f"role/{INSTANCE_ROLE}"), self.arn(f"role/{SERVICE_ROLE}")
        equal(set(allowed), {root, instances, service, guard}, "principals of the key policy")
        uses = {"kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"}
        for role in (instances, service):
            missing = {"kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"} - allowed[role]
            equal(missing, set(), f"what the key policy does not allow to {role}")
        equal("kms:CreateGrant" in allowed[service], True, "whether the service role may grant")
        equal(allowed[root] & {*uses, "kms:*"}, set(), "uses that the key policy leaves to IAM")
        tags = self.kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
        equal([tag["TagKey"] for tag in tags], ["emr-etl-guard-setup"], "tags of the key")

    def expect_roles(self):
        """Both roles, trusted by EMR and EC2, and the profile."""
        roles = {
            role["RoleName"]: self.of_role(role)
            for role in self.iam.list_roles()["Roles"]
            if role["RoleName"] in (SERVICE_ROLE, INSTANCE_ROLE)
        }
        service, instances = roles[SERVICE_ROLE], roles[INSTANCE_ROLE]

        def trusted(role: dict) -> list[tuple]:
            return [
                (it["Effect"], it["Action"], it["Principal"]) for it in role["trust"]["Statement"]
            ]

        def by(name: str) -> list[tuple]:
            return [("Allow", "sts:AssumeRole", {"Service": f"{name}.amazonaws.com"})]

        equal(trusted(service), by("elasticmapreduce"), "who may be the service role")
        equal(
            service["trust"]["Statement"][0]["Condition"],
            {
                "StringEquals": {"aws:SourceAccount": self.account},
                "ArnLike": {"aws:SourceArn": f"arn:aws:elasticmapreduce:*:{self.account}:*"},
            },
            "for whom EMR may be it",
        )
        equal(service["attached"], [MANAGED], "policies of the service role")
        equal(trusted(instances), by("ec2"), "who may be the role of the instances")
        equal(instances["attached"], [], "managed policies of the role of the instances")
        equal(instances["profiles"], [INSTANCE_ROLE], "profiles of the role of the instances")
        equal(list(instances["inline"]), [INLINE], "inline policies of the role of the instances")
        for statement in instances["inline"][INLINE]["Statement"]:
            equal(statement["Effect"], "Allow", "the effect of a statement of the inline policy")
            everything = {"*", "s3:*"} & {*statement["Action"], *statement["Resource"]}
            equal(everything, set(), "what the inline policy allows without limits")

    def expect_buckets(self, has_encryption: bool):
        """Every bucket with its settings."""
        listed = [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]
        equal(sorted(listed), sorted(self.buckets), "buckets")
        for bucket in self.buckets:
            found = self.of_bucket(bucket)
            equal(found["block"], ALL_BLOCKED, f"the public access block of {bucket}")
            if has_encryption:
                rule = {
                    "ApplyServerSideEncryptionByDefault": {
                        "SSEAlgorithm": "aws:kms",
                        "KMSMasterKeyID": self.key()["Arn"],
                    },
                    "BucketKeyEnabled": True,
                    "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]},
                }
                equal(found["encryption"], [rule], f"the default encryption of {bucket}")
            arn = f"arn:aws:s3:::{bucket}"
            statements = [
                {
                    "Sid": "EmrEtlGuardTlsOnly",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [arn, f"{arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ]
            if bucket == self.certificates:
                readers = [self.arn(f"role/{INSTANCE_ROLE}"), self.arn("user/guard")]
                statements.append(
                    {
                        "Sid": "EmrEtlGuardCertificates",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                        "Resource": f"{arn}/*",
                        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": readers}},
                    }
                )
            equal(found["policy"]["Statement"], statements, f"the policy of {bucket}")
            equal(
                found["objects"],
                [ARCHIVE] if bucket == self.certificates else [],
                f"objects in {bucket}",
            )

    def expect_archive(self, domain: str):
        """The archive under the key, with a chain for the nodes' names and the key of its leaf."""
        found = self.s3.get_object(Bucket=self.certificates, Key=ARCHIVE)
        stored = (found["ServerSideEncryption"], found["SSEKMSKeyId"], found["ContentType"])
        equal(
            stored, ("aws:kms", self.key()["Arn"], "application/zip"), "how the archive is stored"
        )
        with zipfile.ZipFile(io.BytesIO(found["Body"].read())) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        equal(
            sorted(files),
            ["certificateChain.pem", "privateKey.pem", "trustedCertificates.pem"],
            "files in the archive",
        )
        private = serialization.load_pem_private_key(files["privateKey.pem"], password=None)
        leaf, *chain = x509.load_pem_x509_certificates(files["certificateChain.pem"])
        equal(private.public_key(), leaf.public_key(), "the key of the certificate")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        equal(names.get_values_for_type(x509.DNSName), [f"*.{domain}"], "the certificate's names")
        [authority] = x509.load_pem_x509_certificates(files["trustedCertificates.pem"])
        leaf.verify_directly_issued_by(authority)
        equal([it for it in chain if it != authority], [], "certificates between the two")
        lifetime = leaf.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
        equal(round(lifetime.total_seconds() / 86400), 365, "days for which it is valid")

    def expect_configuration(self, name: str):
        """The security configuration, encrypting at rest, on disks and in transit."""
        shown = self.emr.describe_security_configuration(Name=name)["SecurityConfiguration"]
        key = self.key()["Arn"]
        encryption = json.loads(shown)["EncryptionConfiguration"]
        at_rest = encryption["AtRestEncryptionConfiguration"]
        disk = at_rest["LocalDiskEncryptionConfiguration"]
        in_transit = encryption["InTransitEncryptionConfiguration"]["TLSCertificateConfiguration"]
        saw = {
            "at rest": encryption["EnableAtRestEncryption"],
            "in transit": encryption["EnableInTransitEncryption"],
            "S3": at_rest["S3EncryptionConfiguration"],
            "disks": disk,
            "certificates": in_transit,
        }
        wanted = {
            "at rest": True,
            "in transit": True,
            "S3": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key},
            "disks": {
                "EncryptionKeyProviderType": "AwsKms",
                "AwsKmsKey": key,
                "EnableEbsEncryption": True,
            },
            "certificates": {
                "CertificateProviderType": "PEM",
                "S3Object": f"s3://{self.certificates}/{ARCHIVE}",
            },
        }
        equal(saw, wanted, f"the security configuration {name}")


if __name__ == "__main__":
    sys.exit("integration/moto/run and integration/localstack/run use this")
