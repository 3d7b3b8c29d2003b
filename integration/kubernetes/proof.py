"""Owns the proof that the Kubernetes manifest is valid, safe and knows every exit code, and that
its container does what it should.

    proof.py FOLDER

FOLDER holds the built emr-etl-guard, standin-runner and emr-simulator.

Three kinds of proof, all on the manifest that is shipped:

- the API server's own schemas, strict, of every version from the first one in which all of its
  fields are stable; and that these schemas do reject what is wrong;
- what the API server or the Job controller demand beyond schemas, the Pod Security Standard
  `restricted`, and that names and times fit each other;
- its container, with the files of its ConfigMaps, its user, its read-only root and its entrypoint
  as process 1, run against the simulated AWS.
"""

import copy
import pathlib
import signal
import sys

import kubernetes_validate
import kubernetes_validate.utils
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from stage import Cases, Codes, Container, Stage, expect, finish, pod_container  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
NAME = "emr-etl-guard"
# `podFailurePolicy` is stable from this version on.
FIRST_VERSION = (1, 31)
# The expected result for each exit code. Codes of signals are retried: the next start closes the
# open run.
SUCCEED, RETRY, FAIL = "succeed", "retry", "fail"


def wanted(codes: Codes) -> dict[int, str]:
    """The expected action of a Job for every code."""
    fates = dict.fromkeys(codes.all, FAIL)
    fates.update(dict.fromkeys([0, 3], SUCCEED))
    fates.update(dict.fromkeys([69, *codes.signals], RETRY))
    return fates


class Manifest:
    """The documents, by kind and name, and the parts that matter most."""

    name = NAME

    def __init__(self):
        self.documents = [
            *yaml.safe_load_all((HERE / "emr-etl-guard.yml").read_text()),
            yaml.safe_load((HERE / "secret.example.yml").read_text()),
        ]
        self.by_name = {
            (document["kind"], document["metadata"]["name"]): document
            for document in self.documents
        }
        expect(len(self.by_name), len(self.documents), "documents with a name of their own")
        self.cron = self.by_name["CronJob", NAME]["spec"]
        self.job = self.cron["jobTemplate"]["spec"]
        self.pod = self.job["template"]["spec"]
        self.labels = self.job["template"]["metadata"]["labels"]
        [self.container] = self.pod["containers"]
        self.guard_settings = yaml.safe_load(self.by_name["ConfigMap", NAME]["data"]["guard.yml"])


def versions() -> list[str]:
    """Of all schemas, those of the versions that the manifest supports."""
    known = [
        version
        for version in kubernetes_validate.utils.all_versions()
        if tuple(int(part) for part in version.split(".")[:2]) >= FIRST_VERSION
    ]
    expect(len(known) >= 5, True, f"whether there are schemas enough: {known}")
    return known


def is_valid(document: dict, version: str) -> bool:
    """Whether the API of that version accepts it, with unknown fields rejected."""
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError:
        return False
    return True


def every_document_fits_the_schemas(manifest: Manifest):
    for version in versions():
        for document in manifest.documents:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise AssertionError(f"{document['kind']} in {version}: {error.message}") from error


def the_schemas_reject_what_is_wrong(manifest: Manifest):
    def broken(change):
        document = copy.deepcopy(manifest.by_name["CronJob", NAME])
        change(document["spec"], document["spec"]["jobTemplate"]["spec"])
        return [version for version in versions() if is_valid(document, version)]

    def rule(job):
        return job["podFailurePolicy"]["rules"][0]

    changes = {
        "an unknown field of the CronJob": lambda cron, job: cron.update(concurrencyPolcy="Forbid"),
        "an unknown field of a rule": lambda cron, job: rule(job).update(onExitCode={}),
        "a rule without an action": lambda cron, job: rule(job).pop("action"),
        "exit codes that are text": lambda cron, job: rule(job)["onExitCodes"].update(
            values=["77"]
        ),
        "an unknown field of the container's security": lambda cron, job: job["template"]["spec"][
            "containers"
        ][0]["securityContext"].update(privilegd=False),
        "a grace period that is text": lambda cron, job: job["template"]["spec"].update(
            terminationGracePeriodSeconds="75s"
        ),
        "a Job without a template": lambda cron, job: job.pop("template"),
    }
    for what, change in changes.items():
        expect(broken(change), [], f"versions that take {what}")


def a_rule_holds_what_the_api_server_demands(manifest: Manifest):
    # Validation of podFailurePolicy in the API server; none of it is in the schemas.
    expect(
        manifest.pod["restartPolicy"], "Never", "restartPolicy, which a podFailurePolicy demands"
    )
    expect(
        manifest.job["podReplacementPolicy"],
        "Failed",
        "podReplacementPolicy, the only one allowed with a podFailurePolicy",
    )
    rules = manifest.job["podFailurePolicy"]["rules"]
    expect(len(rules) <= 20, True, "at most 20 rules")
    for rule in rules:
        expect(
            rule["action"] in ("FailJob", "Ignore", "Count"), True, f"the action {rule['action']}"
        )
        expect(
            ("onExitCodes" in rule) != ("onPodConditions" in rule),
            True,
            f"exactly one requirement in {rule}",
        )
        if "onExitCodes" in rule:
            on = rule["onExitCodes"]
            expect(
                on["containerName"]
                in [container["name"] for container in manifest.pod["containers"]],
                True,
                "whether the container exists",
            )
            expect(on["operator"] in ("In", "NotIn"), True, f"the operator {on['operator']}")
            expect(on["values"], sorted(set(on["values"])), "values in order, each once")
            expect(
                0 < len(on["values"]) <= 255 and (0 not in on["values"] or on["operator"] != "In"),
                True,
                f"the values {on['values']}",
            )
        for condition in rule.get("onPodConditions", []):
            expect(
                condition["status"] in ("True", "False", "Unknown"),
                True,
                f"the status {condition['status']!r}",
            )
    expect(len(NAME) <= 52, True, "a CronJob's name leaves 11 characters for the Job's")
    expect(manifest.cron["concurrencyPolicy"], "Forbid", "concurrencyPolicy")
    # Below 10 s the CronJob controller, which checks every 10 s, might never start it (Kubernetes
    # documentation, "CronJob").
    expect(manifest.cron["startingDeadlineSeconds"] >= 10, True, "startingDeadlineSeconds")


def fate(manifest: Manifest, code: int, disrupted: bool = False) -> str:
    """The Job controller's action for a pod whose container ended with `code`: the first matching
    rule, or else counted.
    """
    if code == 0:
        return SUCCEED
    action = "Count"
    for rule in manifest.job["podFailurePolicy"]["rules"]:
        if "onExitCodes" in rule:
            inside = code in rule["onExitCodes"]["values"]
            fits = inside if rule["onExitCodes"]["operator"] == "In" else not inside
        else:
            fits = disrupted and any(
                condition == {"type": "DisruptionTarget", "status": "True"}
                for condition in rule["onPodConditions"]
            )
        if fits:
            action = rule["action"]
            break
    return FAIL if action == "FailJob" else RETRY


def every_exit_code_has_the_fate_that_the_design_wants(manifest: Manifest, codes: Codes):
    # The entrypoint's handling of codes is tested by running it; here only its text about 3 is
    # used.
    saw = {code: fate(manifest, 0 if code == 3 else code) for code in codes.all}
    expect(saw, wanted(codes), "fates")
    expect(fate(manifest, 3), FAIL, "the fate of a 3 that got past the entrypoint")
    expect(fate(manifest, 99), FAIL, "the fate of a code that nobody knows")
    expect(manifest.job["backoffLimit"], 3, "backoffLimit")
    # Each code by name, so that no code depends on the last rule.
    named = {
        code
        for rule in manifest.job["podFailurePolicy"]["rules"]
        if rule.get("onExitCodes", {}).get("operator") == "In"
        for code in rule["onExitCodes"]["values"]
    }
    expect(named, set(codes.all) - {0, 3}, "codes named in the rules")


def a_disruption_is_not_the_runs_fault_but_never_hides_an_unsafe_cluster(
    manifest: Manifest, codes: Codes
):
    for code in codes.signals:
        expect(fate(manifest, code, disrupted=True), RETRY, f"the fate of {code} in a disruption")
    for code in (71, 74, 75, 76, 77):
        expect(fate(manifest, code, disrupted=True), FAIL, f"the fate of {code} in a disruption")


def the_grace_period_is_longer_than_the_guards_stop_timeout(manifest: Manifest):
    stop = manifest.guard_settings["stop_timeout"]
    expect(stop.endswith("s"), True, f"whether {stop} is in seconds")
    # The guard's runner is gone by then; a reserve for its last calls to EMR, each with its
    # retries, and for the kubelet's delays.
    needed = int(stop[:-1]) + 15
    expect(
        manifest.pod["terminationGracePeriodSeconds"] >= needed,
        True,
        f"whether the grace period is the {needed} s that a stop_timeout of {stop} takes",
    )
    # Forbid would skip the next night because of a run that hangs.
    expect(
        manifest.job["activeDeadlineSeconds"] < 24 * 3600,
        True,
        "activeDeadlineSeconds within a day",
    )


def the_pod_is_restricted(manifest: Manifest):
    # Kubernetes documentation, "Pod Security Standards", profile `restricted`.
    pod, container = manifest.pod["securityContext"], manifest.container["securityContext"]
    expect(
        (pod["runAsNonRoot"], pod["seccompProfile"]),
        (True, {"type": "RuntimeDefault"}),
        "the pod's user and system calls",
    )
    expect(
        pod["runAsUser"] > 0 and pod["fsGroup"] == pod["runAsGroup"] > 0,
        True,
        "a user and a group that are not root's, and own the claim",
    )
    expect(
        container,
        {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "the container's security",
    )
    for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        expect(manifest.pod.get(field, False), False, field)
    expect(
        {next(iter(set(volume) - {"name"})) for volume in manifest.pod["volumes"]}
        <= {"configMap", "emptyDir", "persistentVolumeClaim"},
        True,
        "kinds of volumes",
    )
    expect(manifest.pod["automountServiceAccountToken"], False, "a token for the Kubernetes API")
    role = manifest.by_name["ServiceAccount", manifest.name]["metadata"]["annotations"][
        "eks.amazonaws.com/role-arn"
    ]
    expect(role.startswith("arn:aws:iam::") and ":role/" in role, True, f"the role {role}")


def every_name_that_is_used_exists(manifest: Manifest):
    expect(
        ("ServiceAccount", manifest.pod["serviceAccountName"]) in manifest.by_name,
        True,
        "the service account",
    )
    for variable in manifest.container["env"]:
        if "valueFrom" in variable:
            secret = variable["valueFrom"]["secretKeyRef"]
            expect(
                secret["key"] in manifest.by_name["Secret", secret["name"]]["stringData"],
                True,
                f"the key {secret['key']}",
            )
    volumes = {volume["name"]: volume for volume in manifest.pod["volumes"]}
    expect(
        sorted(mount["name"] for mount in manifest.container["volumeMounts"]),
        sorted(volumes),
        "volumes and their mounts",
    )
    for volume in volumes.values():
        if "configMap" in volume:
            expect(
                ("ConfigMap", volume["configMap"]["name"]) in manifest.by_name,
                True,
                f"the ConfigMap {volume['configMap']['name']}",
            )
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            expect(
                manifest.by_name["PersistentVolumeClaim", claim]["spec"]["accessModes"],
                ["ReadWriteOncePod"],
                "who may have the claim",
            )
    # The journal is on the claim: not in the pod, not in memory.
    [state] = [
        mount["mountPath"]
        for mount in manifest.container["volumeMounts"]
        if "persistentVolumeClaim" in volumes[mount["name"]]
    ]
    env = {variable["name"]: variable.get("value") for variable in manifest.container["env"]}
    expect(env["EMR_ETL_GUARD_STATE_DIR"], state, "where the journal is")
    policy = manifest.by_name["NetworkPolicy", manifest.name]["spec"]
    expect(
        policy["podSelector"]["matchLabels"].items() <= manifest.labels.items(),
        True,
        "the network policy's pods",
    )


def container(manifest: Manifest, stage: Stage) -> Container:
    """The manifest's container."""
    return pod_container(manifest.pod, manifest.documents, stage)


def the_container_ends_with(manifest: Manifest, stage: Stage, code: int, seen: int, launched: int):
    ended = stage.play(container(manifest, stage), code)
    expect(ended.code, seen, f"exit code\n{ended.output}")
    expect(stage.requests("RunJobFlow"), launched, f"clusters launched\n{ended.output}")


def the_report_is_on_the_claim(manifest: Manifest, stage: Stage):
    (stage.folder / "state" / "report.json").unlink(missing_ok=True)
    the_container_ends_with(manifest, stage, 0, 0, 1)
    expect((stage.folder / "state" / "report.json").exists(), True, "the report")
    expect(
        (stage.folder / "state" / "cache").exists(),
        True,
        "what the guard remembers of the runner's version",
    )


def nothing_but_the_claim_and_tmp_can_be_written(manifest: Manifest, stage: Stage):
    # The same container with another command; that it can write somewhere shows that the refusals
    # are not caused by the command itself.
    looking = container(manifest, stage)
    looking.command = [
        "/bin/sh",
        "-c",
        "id -u; for it in / /etc/snowplow /etc/emr-etl-guard /var/lib/emr-etl-guard /tmp; do touch $it/x 2> /dev/null && echo $it; done; exit 0",
    ]
    expect(
        stage.play(looking, 0).output.split(),
        ["10001", "/var/lib/emr-etl-guard", "/tmp"],
        "the user, and what it can write to",
    )


def a_stop_reaches_the_guard_through_process_1(manifest: Manifest, stage: Stage):
    process = stage.contain(container(manifest, stage), 143)
    stage.until(
        lambda: (
            process.poll() is not None
            or stage.requests("AddJobFlowSteps") + stage.requests("RunJobFlow")
        ),
        "a cluster is launched",
    )
    stage.stop(process, signal.SIGTERM)
    ended = finish(process)
    expect(ended.code, 143, f"exit code, the runner's own after SIGTERM\n{ended.output}")


def a_replacement_closes_what_a_killed_pod_left(manifest: Manifest, stage: Stage):
    process = stage.contain(container(manifest, stage), 143)
    stage.until(
        lambda: process.poll() is not None or stage.requests("RunJobFlow"), "a cluster is launched"
    )
    stage.stop(process, signal.SIGKILL)
    finish(process)
    stage.control({"command": "clear_requests"})
    ended = stage.play(container(manifest, stage), None)
    operations = stage.operations()
    before = (
        operations[: operations.index("RunJobFlow")] if "RunJobFlow" in operations else operations
    )
    expect(
        "DescribeCluster" in before,
        True,
        f"whether the replacement looked at the cluster that was left, before anything else\n{ended.output}",
    )


def main(programs: pathlib.Path) -> int:
    cases, codes, manifest = Cases("kubernetes"), Codes(programs), Manifest()
    cases.case(
        f"every document fits the strict schemas of Kubernetes {versions()[0]} to {versions()[-1]}",
        every_document_fits_the_schemas,
        manifest,
    )
    cases.case(
        "these schemas reject unknown fields, wrong types and what is missing",
        the_schemas_reject_what_is_wrong,
        manifest,
    )
    cases.case(
        "the manifest holds what the API server demands beyond schemas",
        a_rule_holds_what_the_api_server_demands,
        manifest,
    )
    cases.case(
        "every exit code of the guard's own help has the fate it should",
        every_exit_code_has_the_fate_that_the_design_wants,
        manifest,
        codes,
    )
    cases.case(
        "a disruption is tried again, an unsafe cluster never",
        a_disruption_is_not_the_runs_fault_but_never_hides_an_unsafe_cluster,
        manifest,
        codes,
    )
    cases.case(
        "the grace period is longer than the guard's stop_timeout",
        the_grace_period_is_longer_than_the_guards_stop_timeout,
        manifest,
    )
    cases.case(
        "the pod fits the Pod Security Standard `restricted`, with a read-only root",
        the_pod_is_restricted,
        manifest,
    )
    cases.case(
        "every name that is used exists, and the journal is on the claim",
        every_name_that_is_used_exists,
        manifest,
    )
    with Stage(programs) as stage:
        # (stage.folder / "state") belongs to root here; the user namespace makes it the container's
        # own.
        cases.case(
            "the container as it is shipped makes a good run: 0, with its report on the claim",
            the_report_is_on_the_claim,
            manifest,
            stage,
        )
        cases.case(
            "it can write to the claim and /tmp, and to nothing else",
            nothing_but_the_claim_and_tmp_can_be_written,
            manifest,
            stage,
        )
        cases.case(
            "a night without data succeeds", the_container_ends_with, manifest, stage, 3, 0, 0
        )
        for code, launched in ((69, 0), (77, 0), (76, 1), (1, 0), (127, 0)):
            what = f"it ends with {code}, unchanged, {'after' if launched else 'without'} a launch"
            cases.case(what, the_container_ends_with, manifest, stage, code, code, launched)
        cases.case(
            "a replacement closes what a killed pod left",
            a_replacement_closes_what_a_killed_pod_left,
            manifest,
            stage,
        )
        cases.case(
            "a SIGTERM to process 1 reaches the guard, and its code comes back",
            a_stop_reaches_the_guard_through_process_1,
            manifest,
            stage,
        )
    return cases.finish()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
