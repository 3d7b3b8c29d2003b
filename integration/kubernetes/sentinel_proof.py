"""Owns the proof that the sentinel's Kubernetes manifest is valid and safe, and that its container
watches, answers its probes and stops as the manifest says.

    sentinel_proof.py FOLDER

FOLDER holds the built emr-etl-guard and emr-simulator. The kinds of proof are those of proof.py.
"""

import copy
import pathlib
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import yaml
from proof import (
    every_document_fits_the_schemas,
    every_name_that_is_used_exists,
    is_valid,
    the_pod_is_restricted,
    versions,
)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from stage import Cases, Container, Stage, expect, finish, pod_container  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


class Manifest:
    """The documents, by kind and name, and the parts that matter most."""

    name = "emr-sentinel"

    def __init__(self):
        self.documents = list(yaml.safe_load_all((HERE / "sentinel.yml").read_text()))
        self.by_name = {
            (document["kind"], document["metadata"]["name"]): document
            for document in self.documents
        }
        expect(len(self.by_name), len(self.documents), "documents with a name of their own")
        self.deployment = self.by_name["Deployment", self.name]["spec"]
        template = self.deployment["template"]
        self.labels = template["metadata"]["labels"]
        self.annotations = template["metadata"]["annotations"]
        self.pod = template["spec"]
        [self.container] = self.pod["containers"]
        self.settings = yaml.safe_load(self.by_name["ConfigMap", self.name]["data"]["guard.yml"])


def the_schemas_reject_what_is_wrong(manifest: Manifest):
    def broken(change):
        document = copy.deepcopy(manifest.by_name["Deployment", manifest.name])
        change(document["spec"], document["spec"]["template"]["spec"]["containers"][0])
        return [version for version in versions() if is_valid(document, version)]

    changes = {
        "an unknown field of the Deployment": lambda spec, container: spec.update(replica=1),
        "a probe with an unknown field": lambda spec, container: container["livenessProbe"].update(
            period=20
        ),
        "a probe's time that is text": lambda spec, container: container["livenessProbe"].update(
            periodSeconds="20s"
        ),
        "a Deployment without a selector": lambda spec, container: spec.pop("selector"),
        "a strategy that is a word": lambda spec, container: spec.update(strategy="Recreate"),
    }
    for what, change in changes.items():
        expect(broken(change), [], f"versions that take {what}")


def one_pod_at_a_time_has_the_state(manifest: Manifest):
    deployment = manifest.deployment
    expect((deployment["replicas"], deployment["strategy"]), (1, {"type": "Recreate"}), "replicas")
    expect(
        deployment["selector"]["matchLabels"].items() <= manifest.labels.items(),
        True,
        "whether the selector takes the pods",
    )


def the_port_of_the_settings_is_that_of_probes_metrics_and_policy(manifest: Manifest):
    host, _, port = manifest.settings["sentinel"]["listen"].rpartition(":")
    # The kubelet and Prometheus connect to the pod's address.
    expect(host, "0.0.0.0", "the address that it listens on")
    [open_port] = manifest.container["ports"]
    expect(open_port["containerPort"], int(port), "the container's port")
    [rule] = manifest.by_name["NetworkPolicy", manifest.name]["spec"]["ingress"]
    expect(rule["ports"], [{"port": int(port), "protocol": "TCP"}], "the network policy's port")
    expect(manifest.annotations["prometheus.io/port"], port, "the port that Prometheus scrapes")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        expect(manifest.container[probe]["httpGet"]["port"], open_port["name"], f"{probe}'s port")
    # AWS that does not answer must not restart the pod.
    for probe in ("startupProbe", "livenessProbe"):
        expect(manifest.container[probe]["httpGet"]["path"], "/livez", f"{probe}'s path")


def the_command_line_exists(manifest: Manifest, programs: pathlib.Path):
    [program] = manifest.container["command"]
    [command, *flags] = manifest.container["args"]
    done = subprocess.run(
        [programs / program, command, "--help"], capture_output=True, text=True, check=False
    )
    expect(done.returncode, 0, f"exit code of {program} {command} --help\n{done.stderr}")
    known = set(re.findall(r"--[a-z-]+", done.stdout))
    expect(set(flags) - known, set(), "flags that the program does not know")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pod:
    """The manifest's container, with another port: the network here is the machine's own."""

    def __init__(self, manifest: Manifest, stage: Stage):
        self.stage, self.port = stage, free_port()
        documents = copy.deepcopy(manifest.documents)
        [settings] = [it for it in documents if it["kind"] == "ConfigMap"]
        text = settings["data"]["guard.yml"]
        listen = manifest.settings["sentinel"]["listen"]
        expect(text.count(listen), 1, f"{listen} in guard.yml")
        settings["data"]["guard.yml"] = text.replace(listen, f"127.0.0.1:{self.port}")
        self.container: Container = pod_container(manifest.pod, documents, stage)

    def start(self) -> subprocess.Popen:
        return self.stage.contain(self.container, None)

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text of a page; status 0: nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def until(self, process: subprocess.Popen, path: str):
        """Waits until a page answers 200."""
        self.stage.until(
            lambda: process.poll() is not None or self.ask(path)[0] == 200, f"{path} is 200"
        )
        if process.poll() is not None:
            raise AssertionError(f"it has ended:\n{finish(process)}")


def its_probes_turn_green_and_a_stop_ends_it_well(manifest: Manifest, stage: Stage):
    pod = Pod(manifest, stage)
    process = pod.start()
    try:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            pod.until(process, manifest.container[probe]["httpGet"]["path"])
        status, text = pod.ask(manifest.annotations["prometheus.io/path"])
        expect(
            (status, "\n# TYPE " in f"\n{text}"), (200, True), f"whether there are metrics\n{text}"
        )
        expect(pod.ask("/healthz")[0], 404, "a page that does not exist")
        stage.stop(process, signal.SIGTERM)
        ended = finish(process)
        expect(ended.code, 0, f"exit code after SIGTERM\n{ended.output}")
        expect((stage.folder / "state" / "sentinel").is_dir(), True, "its records on the claim")
    finally:
        process.kill()


def it_is_alive_and_not_ready_while_aws_denies(manifest: Manifest, stage: Stage):
    pod = Pod(manifest, stage)
    stage.control({"command": "add_fault", "operation": "ListClusters", "kind": "access_denied"})
    process = pod.start()
    try:
        pod.until(process, "/livez")
        stage.until(lambda: "ListClusters" in pod.ask("/readyz")[1], "the cause is known")
        status, text = pod.ask("/readyz")
        expect(
            (status, text),
            (
                503,
                "eu-west-1 of account 123456789012: not listed yet; "
                "elasticmapreduce:ListClusters: AccessDeniedException\n",
            ),
            "readiness",
        )
    finally:
        process.kill()
        finish(process)


def an_unknown_key_in_its_settings_is_refused(manifest: Manifest, stage: Stage):
    pod = Pod(manifest, stage)
    file = stage.folder / "settings" / "guard.yml"
    file.write_text(file.read_text().replace("  regions:", "  no_such_setting: 1\n  regions:"))
    ended = finish(pod.start())
    expect(
        (ended.code, "no_such_setting" in ended.output), (64, True), f"exit code\n{ended.output}"
    )


def a_second_pod_on_the_same_claim_is_refused(manifest: Manifest, stage: Stage):
    first = Pod(manifest, stage)
    process = first.start()
    try:
        first.until(process, "/livez")
        ended = finish(Pod(manifest, stage).start())
        expect(ended.code not in (0, 1), True, f"whether it is refused\n{ended.output}")
        expect(first.ask("/livez")[0], 200, "whether the first goes on")
    finally:
        process.kill()
        finish(process)


def main(programs: pathlib.Path) -> int:
    cases, manifest = Cases("kubernetes sentinel"), Manifest()
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
        "the pod fits the Pod Security Standard `restricted`, with a read-only root",
        the_pod_is_restricted,
        manifest,
    )
    cases.case(
        "every name that is used exists, and the state is on the claim",
        every_name_that_is_used_exists,
        manifest,
    )
    cases.case(
        "there is one pod at a time, which the state folder demands",
        one_pod_at_a_time_has_the_state,
        manifest,
    )
    cases.case(
        "settings, container, probes, metrics and network policy name one port",
        the_port_of_the_settings_is_that_of_probes_metrics_and_policy,
        manifest,
    )
    cases.case(
        "the program knows the container's command line",
        the_command_line_exists,
        manifest,
        programs,
    )
    with Stage(programs) as stage:
        for sentence, proof in (
            (
                "the container's probes turn green, and a stop ends it with 0",
                its_probes_turn_green_and_a_stop_ends_it_well,
            ),
            (
                "it is alive and not ready while AWS denies, and says why without a secret",
                it_is_alive_and_not_ready_while_aws_denies,
            ),
            (
                "it refuses an unknown key in the manifest's guard.yml",
                an_unknown_key_in_its_settings_is_refused,
            ),
            (
                "a second pod on the same claim is refused",
                a_second_pod_on_the_same_claim_is_refused,
            ),
        ):
            stage.world()
            cases.case(sentence, proof, manifest, stage)
    return cases.finish()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
