"""Owns the proof that documents and signatures are what the world's own tools take them for.

    proof.py FOLDER

FOLDER holds emr-etl-guard, standin-runner and emr-simulator.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import urllib.request

import jsonschema
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from stage import ROOT, Cases, Stage, expect  # noqa: E402

SPECS = ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_EDWARDS25519", "RSA_2048"]
ALIAS = "alias/evidence"


class Proof:
    """Runs of the guard, and other tools' results on their files."""

    def __init__(self, stage: Stage):
        self.stage = stage
        schema = json.loads((ROOT / "src" / "report" / "schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        self.validator = jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        )
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", stage.folder / "key.pem"],
            check=True,
        )

    def run(self, code: int, key: str, *commands: dict) -> tuple[bytes, bytes]:
        """A run that ends with `code`: returns its report and its signature. `commands` change its
        world.
        """
        env = self.stage.plain(code)
        self.stage.control(*commands)
        report = self.stage.folder / "report.json"
        words = [
            "run",
            "--sign-key",
            key,
            "--report",
            report,
            "--state-dir",
            self.stage.folder / "state",
        ]
        arguments = ["run", "-c", "config.yml", "-r", "resolver.json"]
        program = self.stage.programs / "emr-etl-guard"
        ended = subprocess.run(
            [program, *words, "--", *arguments],
            cwd=self.stage.folder,
            env=env,
            capture_output=True,
            text=True,
        )
        expect(ended.returncode, code, f"the exit code\n{ended.stdout}{ended.stderr}")
        return report.read_bytes(), pathlib.Path(f"{report}.dsse").read_bytes()

    def local_key(self):
        pem = subprocess.run(
            ["openssl", "pkey", "-in", self.stage.folder / "key.pem", "-pubout"],
            check=True,
            capture_output=True,
        ).stdout
        return load_pem_public_key(pem)

    def key_in_kms(self):
        """The key from KMS."""
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "TrentService.GetPublicKey",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAGUARD/20260101/eu-west-1/kms/aws4_request, SignedHeaders=host, Signature=0",
        }
        request = urllib.request.Request(
            self.stage.url, json.dumps({"KeyId": ALIAS}).encode(), headers
        )
        with urllib.request.urlopen(request) as answer:
            return load_der_public_key(base64.b64decode(json.load(answer)["PublicKey"]))


def others_find_it_good(document: bytes, envelope: bytes, public):
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    keyid = f"sha256:{hashlib.sha256(der).hexdigest()}"
    key = SSlibKey.from_crypto(public, keyid=keyid)
    opened = Envelope.from_dict(json.loads(envelope))
    expect(list(opened.verify([key], 1)), [keyid], "the keys that securesystemslib accepts")
    statement = json.loads(opened.payload)
    expect(statement["_type"], "https://in-toto.io/Statement/v1", "the statement's type")
    expect(
        statement["subject"][0]["digest"]["sha256"],
        hashlib.sha256(document).hexdigest(),
        "the digest that was signed",
    )
    opened.payload = opened.payload.replace(b"sha256", b"sha255")
    try:
        opened.verify([key], 1)
    except VerificationError:
        return
    raise AssertionError(
        "securesystemslib takes a changed statement for good: this proof proves nothing"
    )


def a_local_key_signs(proof: Proof):
    document, envelope = proof.run(0, "key.pem")
    others_find_it_good(document, envelope, proof.local_key())


def a_key_in_kms_signs(proof: Proof, spec: str):
    put = {
        "command": "put_key",
        "id": "5160ed00-0000-4000-8000-000000000000",
        "aliases": [ALIAS],
        "spec": spec,
        "usage": "SIGN_VERIFY",
    }
    document, envelope = proof.run(0, ALIAS, put)
    others_find_it_good(document, envelope, proof.key_in_kms())


def documents_of_a_run_that_ends_so_are_valid(proof: Proof, code: int):
    document = json.loads(proof.run(code, "key.pem")[0])
    proof.validator.validate(document)
    expect(document["exit_code"], code, "the document's own exit code")
    for member, value in (
        ("version", 1),
        ("outcome", "splendid"),
        ("started", "yesterday"),
        ("surplus", 0),
    ):
        if proof.validator.is_valid(document | {member: value}):
            raise AssertionError(
                f"a document whose {member} is {value!r} is valid: the schema proves nothing"
            )


def main() -> int:
    cases = Cases("evidence")
    with Stage(pathlib.Path(sys.argv[1]).resolve()) as stage:
        proof = Proof(stage)
        cases.case(
            "securesystemslib finds good what an Ed25519 key of OpenSSL's has signed",
            a_local_key_signs,
            proof,
        )
        for spec in SPECS:
            cases.case(
                f"securesystemslib finds good what a KMS key {spec} has signed",
                a_key_in_kms_signs,
                proof,
                spec,
            )
        for code in (0, 69, 75, 76, 77):
            cases.case(
                f"the document of a run that ends with {code} is valid by another validator",
                documents_of_a_run_that_ends_so_are_valid,
                proof,
                code,
            )
    return cases.finish()


if __name__ == "__main__":
    sys.exit(main())
