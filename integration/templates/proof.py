"""Owns the proof that the infrastructure code of `setup`, and the manifests for Kubernetes, are what
other programs take them for.

    proof.py HCLFMT

The code is that of the sample plans in src/setup/samples.rs. It is read from their snapshots, which
`cargo test` holds against what the program prints. HCLFMT is the program made of hclfmt.go.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAMS = pathlib.Path(sys.executable).parent

# The samples that describe whole accounts, or all that a sentinel needs, with the number of Checkov's
# rules that each follows at least; the others are odd on purpose.
WHOLE = {"empty": 20, "existing": 20, "sentinel": 8, "account-of-a-sentinel": 8}

# Manifests that are written by hand.
KUBERNETES = ["emr-etl-guard.yml", "sentinel.yml"]

# Checkov's rules that the code does not follow, each with the reason.
NOT_FOLLOWED = {
    "CKV_AWS_18": "access logs need a bucket of their own; the guide does not ask for them",
    "CKV_AWS_21": "versioning would keep every deleted raw event, and cost; it is the owner's choice",
    "CKV_AWS_27": "the queue is under a key of SQS itself, which Checkov does not read in templates",
    "CKV_AWS_40": "the launcher may be a user: what it lacks is given to it, and no group is made",
    "CKV_AWS_144": "a copy in another region is the owner's choice",
    "CKV_AWS_385": "it takes the account's own root for another account",
    "CKV2_AWS_61": "what expires, and when, is the owner's choice",
    "CKV2_AWS_62": "nothing of the guard uses events of buckets",
    "CKV2_AWS_64": "the policy of a key that exists is a resource of its own, or not changed",
    "CKV_K8S_11": "a limit of CPU would only delay what is needed for seconds",
    "CKV_K8S_15": "the image is named by a version or a digest, which stays what it is",
    "CKV_K8S_21": "the namespace is that of `kubectl apply -n`",
    "CKV_K8S_35": "the runner's config takes its keys from variables",
    "CKV_K8S_43": "the image is an example; a comment says to name it by its digest",
}


def main() -> None:
    hclfmt = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        extract(folder)
        templates = sorted(folder.glob("*.yml"))
        files = sorted(folder.glob("*/*.tf"))
        if len(templates) < 5 or len(files) < 50:
            raise AssertionError(f"{len(templates)} templates and {len(files)} files of HCL")
        show("cfn-lint", lint(templates))
        show("the form of HCL", formatted(hclfmt, files))
        resolved = folder / "resolved"
        resolved.mkdir()
        for template in templates:
            whole = yaml.load(template.read_text(), Loader)
            # What a sentinel needs is made in one step, and imports nothing.
            steps = ["change"] if "sentinel" in template.stem else ["import", "change"]
            for step in steps:
                (resolved / f"{template.stem}-{step}.json").write_text(
                    json.dumps(resolve(whole, step), indent=1)
                )
        # What a stack has after each step is a template, too.
        show("cfn-lint of each step", lint(sorted(resolved.glob("*.json"))))
        unused = set(NOT_FOLLOWED)
        for name, least in WHOLE.items():
            show(
                f"Checkov: {name}, CloudFormation",
                checkov("cloudformation", resolved / f"{name}-change.json", unused, least),
            )
            show(
                f"Checkov: {name}, Terraform",
                checkov("terraform", folder / name, unused, least),
            )
        for name in KUBERNETES:
            manifest = ROOT / "integration/kubernetes" / name
            show(f"Checkov: {name}, Kubernetes", checkov("kubernetes", manifest, unused, 50))
        if unused:
            raise AssertionError(f"rules that nothing breaks, and need no reason: {sorted(unused)}")
        controls(folder, resolved, hclfmt)
    print("every template and file passed")


def extract(folder: pathlib.Path) -> None:
    """Writes the snapshots' templates and files."""
    setup = ROOT / "src/setup"
    folders = [setup / "cloudformation/snapshots", setup / "terraform/snapshots"]
    for snapshot in sorted(file for of in folders for file in of.glob("*.snap")):
        kind, _, name = snapshot.stem.split("__")[-1].partition("-")
        _, _, text = snapshot.read_text().split("---\n", 2)
        if kind == "cloudformation":
            (folder / f"{name}.yml").write_text(text)
            continue
        files = re.split(r"^==> (\S+) <==\n", text, flags=re.MULTILINE)[1:]
        if kind != "terraform":
            raise AssertionError(f"{snapshot} is neither a template nor Terraform code")
        for file, text in zip(files[::2], files[1::2], strict=True):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file).write_text(text)


def lint(templates: list[pathlib.Path]) -> list[str]:
    """What cfn-lint finds, of whatever weight."""
    done = run(PROGRAMS / "cfn-lint", "--format", "parseable", "--", *templates)
    if done.returncode != 0 and not done.stdout:
        raise AssertionError(done.stderr)
    return done.stdout.splitlines()


def formatted(hclfmt: str, files: list[pathlib.Path]) -> list[str]:
    """Where files differ from what `terraform fmt` prints."""
    done = run(hclfmt, *files)
    if done.returncode not in (0, 1):
        raise AssertionError(done.stderr)
    return done.stdout.splitlines()


def checkov(framework: str, path: pathlib.Path, unused: set[str], least: int) -> list[str]:
    """The rules that are broken without a reason; what has a reason is taken out of `unused`. `least`
    rules are followed, or Checkov has not read what it was given.
    """
    where = ["--file", path] if path.is_file() else ["--directory", path]
    options = ["--framework", framework, "--output", "json", "--skip-download", "--quiet"]
    done = run(PROGRAMS / "checkov", *where, *options)
    if done.returncode not in (0, 1):
        raise AssertionError(done.stdout + done.stderr)
    report = json.loads(done.stdout)
    if report["summary"]["passed"] < least or report["summary"]["parsing_errors"]:
        raise AssertionError(f"Checkov did not read {path}: {report['summary']}")
    broken = []
    for check in report["results"]["failed_checks"]:
        unused.discard(check["check_id"])
        if check["check_id"] not in NOT_FOLLOWED:
            broken.append(f"{check['check_id']} {check['resource']}: {check['check_name']}")
    return broken


def controls(folder: pathlib.Path, resolved: pathlib.Path, hclfmt: str) -> None:
    """Each program finds a fault that is put into a good file."""
    template = (folder / "empty.yml").read_text()
    broken = folder / "control.yml"
    broken.write_text(template.replace("BucketKeyEnabled", "BucketKeyEnable"))
    expect_fault("cfn-lint", lint([broken]))

    code = (folder / "empty" / "kms.tf").read_text()
    misaligned = folder / "control.tf"
    misaligned.write_text(code.replace("enable_key_rotation     =", "enable_key_rotation ="))
    expect_fault("the form of HCL", formatted(hclfmt, [misaligned]))

    rotation = "enable_key_rotation     = true"
    if rotation not in code:
        raise AssertionError(f"no {rotation!r} in {code}")
    (folder / "empty" / "kms.tf").write_text(
        code.replace(rotation, rotation.replace("true", "false"))
    )
    expect_fault("Checkov of Terraform", checkov("terraform", folder / "empty", set(), 20))

    document = json.loads((resolved / "empty-change.json").read_text())
    document["Resources"]["Key"]["Properties"]["EnableKeyRotation"] = False
    unrotated = folder / "control.json"
    unrotated.write_text(json.dumps(document))
    expect_fault("Checkov of CloudFormation", checkov("cloudformation", unrotated, set(), 20))

    code = (folder / "sentinel" / "sentinel.tf").read_text()
    trust = 'Service = "ecs-tasks.amazonaws.com"'
    if trust not in code:
        raise AssertionError(f"no {trust!r} in {code}")
    (folder / "sentinel" / "sentinel.tf").write_text(code.replace(trust, 'AWS = "*"'))
    expect_fault("Checkov of a sentinel", checkov("terraform", folder / "sentinel", set(), 8))

    manifest = (ROOT / "integration/kubernetes/sentinel.yml").read_text()
    root = manifest.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    writable = folder / "control-manifest.yml"
    writable.write_text(root)
    expect_fault("Checkov of Kubernetes", checkov("kubernetes", writable, set(), 50))


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags as their long forms."""

    def tagged(self, suffix: str, node: yaml.Node) -> dict:
        if isinstance(node, yaml.ScalarNode):
            value = self.construct_scalar(node)
        else:
            value = self.construct_sequence(node, deep=True)
        if suffix == "GetAtt":
            value = value.split(".", 1)
        return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", Loader.tagged)


def resolve(template: dict, step: str) -> dict:
    """The template of a stack whose parameter `Step` is `step`: without conditions."""
    conditional = "Conditions" in template
    nothing = {"Ref": "AWS::NoValue"}

    def value(node: object) -> object:
        if isinstance(node, list):
            return [value(item) for item in node if item != nothing]
        if not isinstance(node, dict):
            return node
        if "Fn::If" in node:
            _, change, now = node["Fn::If"]
            return value(change if step == "change" else now)
        fields = {key: value(item) for key, item in node.items()}
        return {key: item for key, item in fields.items() if item != nothing}

    def present(part: dict) -> dict:
        there = {k: v for k, v in part.items() if step == "change" or "Condition" not in v}
        return {k: {a: b for a, b in v.items() if a != "Condition"} for k, v in there.items()}

    template = {key: value(part) for key, part in template.items() if key != "Conditions"}
    template["Resources"] = present(template["Resources"])
    template["Outputs"] = present(template.get("Outputs", {}))
    if conditional:
        template["Parameters"].pop("Step", None)
    used = json.dumps([template["Resources"], template["Outputs"]])
    parameters = template.pop("Parameters", {})
    # Where a condition holds because a parameter is not empty, the parameter is not.
    parameters = {
        name: {key: value for key, value in of.items() if (key, value) != ("Default", "")}
        for name, of in parameters.items()
        if re.search(rf'"{name}"|\{{{name}\}}', used)
    }
    sections = {"Parameters": parameters, "Outputs": template.pop("Outputs")}
    return template | {name: section for name, section in sections.items() if section}


def run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )


def show(name: str, faults: list[str]) -> None:
    """Ends the proof if there are faults."""
    if faults:
        raise AssertionError("\n".join([f"{name}: {len(faults)} faults", *faults]))
    print(f"ok: {name}")


def expect_fault(name: str, faults: list[str]) -> None:
    if not faults:
        raise AssertionError(f"{name} finds nothing in a file that was broken on purpose")
    print(f"ok: {name} finds what is broken on purpose")


if __name__ == "__main__":
    main()
