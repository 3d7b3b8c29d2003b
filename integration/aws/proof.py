"""Owns the proof that the definitions for AWS are valid, safe and know every exit code, and that
their containers and state machines do what they should.

    proof.py FOLDER

FOLDER holds the built emr-etl-guard, standin-runner and emr-simulator.

All on the files that are shipped:

- by AWS's own models: botocore's, for what the API takes, enumerations included; cfn-lint's, for
  what CloudFormation knows beyond that, with a schema of the Amazon States Language; and moto takes
  them all. Each of these is shown to reject what is wrong;
- `evaluateOnExit` as AWS documents it ("Automated job retries"), for every exit code;
- the state machines, for every exit code and every way of not having one, in the interpreter that
  moto has from LocalStack. Only the guard's task is played: by the failure, or the answer, with
  which Step Functions reports such a task. The page goes to a real topic of moto's and is read from
  a queue;
- the containers, with their user, read-only root, environment and entry point as process 1, against
  the simulated AWS.
"""

import copy
import fnmatch
import json
import logging
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest.mock

import boto3
import botocore.exceptions
import botocore.session
import yaml
from botocore.validate import ParamValidator
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import mock_eval_utils
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import (
    WaitFunction,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.mocking.mock_config import (
    MockedResponseReturn,
    MockedResponseThrow,
    MockTestCase,
    StateMockedResponses,
)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from stage import RECORDINGS, Cases, Codes, Container, Stage, expect, finish  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
REGION, ACCOUNT = "eu-west-1", "123456789012"
NAME = "emr-etl-guard"
KINDS = ("ecs", "batch")
ROLES = {
    "emr-etl-guard-task": (
        "ecs-tasks.trust.json",
        ["task-role.policy.json", "task-role.state.policy.json"],
    ),
    "emr-etl-guard-execution": ("ecs-tasks.trust.json", ["execution-role.policy.json"]),
    "emr-etl-guard-state-machine": ("states.trust.json", ["state-machine-role.policy.json"]),
    "emr-etl-guard-scheduler": ("scheduler.trust.json", ["scheduler-role.policy.json"]),
    "emr-etl-guard-sentinel": (
        "ecs-tasks.trust.json",
        ["sentinel-role.policy.json", "sentinel-role.state.policy.json"],
    ),
    "emr-etl-guard-sentinel-scheduler": (
        "scheduler.trust.json",
        ["sentinel-scheduler-role.policy.json"],
    ),
}


# The queue of EMR's events, and the rule that fills it.
EVENTS = "emr-etl-guard-events"


def text(name: str) -> str:
    return (HERE / name).read_text()


def the_readme_names_every_file_and_no_other():
    files = {
        str(file.relative_to(HERE)) for file in HERE.rglob("*") if file.suffix in (".json", ".yml")
    }
    expect(
        set(re.findall(r"file://([\w./-]+)", text("README.md"))),
        files,
        "files in the README's commands",
    )
    commands = {
        tuple(words)
        for words in re.findall(r"^\$ aws (\w+) ([\w-]+)", text("README.md"), re.MULTILINE)
    }
    named = {
        (service, re.sub(r"(?<!^)([A-Z])", r"-\1", operation).lower())
        for service, operation, _ in Definitions().requests()
    }
    expect(commands, named, "the README's commands")


class Definitions:
    """The files, read."""

    def __init__(self):
        self.ecs = yaml.safe_load(text("ecs-task-definition.yml"))
        self.batch = yaml.safe_load(text("batch-job-definition.yml"))
        self.schedule = yaml.safe_load(text("schedule.yml"))
        self.sentinel = yaml.safe_load(text("sentinel-task-definition.yml"))
        self.service = yaml.safe_load(text("sentinel-service.yml"))
        self.sentinel_schedule = yaml.safe_load(text("sentinel-schedule.yml"))
        self.machines = {kind: json.loads(text(f"state-machine-{kind}.asl.json")) for kind in KINDS}
        [self.ecs_container] = self.ecs["containerDefinitions"]
        self.batch_container = self.batch["containerProperties"]
        [self.sentinel_container] = self.sentinel["containerDefinitions"]

    def state_machine(self, kind: str) -> dict:
        """The parameters of CreateStateMachine."""
        role = f"arn:aws:iam::{ACCOUNT}:role/emr-etl-guard-state-machine"
        return {
            "name": NAME,
            "definition": text(f"state-machine-{kind}.asl.json"),
            "roleArn": role,
            "type": "STANDARD",
        }

    def requests(self) -> list[tuple[str, str, dict]]:
        """Every request of these files: service, operation, parameters."""
        roles = [
            (
                "iam",
                "CreateRole",
                {"RoleName": role, "AssumeRolePolicyDocument": text(f"iam/{trust}")},
            )
            for role, (trust, _) in ROLES.items()
        ]
        policies = [
            (
                "iam",
                "PutRolePolicy",
                {
                    "RoleName": role,
                    "PolicyName": policy.removesuffix(".json").replace(".", "-"),
                    "PolicyDocument": text(f"iam/{policy}"),
                },
            )
            for role, (_, policies) in ROLES.items()
            for policy in policies
        ]
        return [
            ("ecs", "RegisterTaskDefinition", self.ecs),
            ("batch", "RegisterJobDefinition", self.batch),
            ("scheduler", "CreateSchedule", self.schedule),
            ("ecs", "RegisterTaskDefinition", self.sentinel),
            ("ecs", "CreateService", self.service),
            ("scheduler", "CreateSchedule", self.sentinel_schedule),
            *(("stepfunctions", "CreateStateMachine", self.state_machine(kind)) for kind in KINDS),
            *roles,
            *policies,
            (
                "sqs",
                "CreateQueue",
                {
                    "QueueName": EVENTS,
                    "Attributes": json.loads(text("events/queue.attributes.json")),
                },
            ),
            (
                "events",
                "PutRule",
                {"Name": EVENTS, "EventPattern": text("events/rule.pattern.json")},
            ),
            (
                "events",
                "PutTargets",
                {"Rule": EVENTS, "Targets": json.loads(text("events/rule.targets.json"))},
            ),
            (
                "iam",
                "PutRolePolicy",
                {
                    "RoleName": "emr-etl-guard-task",
                    "PolicyName": "listen",
                    "PolicyDocument": text("events/guard.policy.json"),
                },
            ),
        ]


class Models:
    """botocore's models of the services, which AWS publishes."""

    def __init__(self):
        self.session = botocore.session.Session()
        self.models: dict = {}

    def problems(self, service: str, operation: str, parameters: dict) -> list[str]:
        """The errors in a request; botocore's own validator does not check enumerations."""
        model = self.models.setdefault(service, self.session.get_service_model(service))
        shape = model.operation_model(operation).input_shape
        report = ParamValidator().validate(parameters, shape)
        return ([report.generate_report()] if report.has_errors() else []) + list(
            self.not_in_enumeration(parameters, shape, "")
        )

    def not_in_enumeration(self, value, shape, where: str):
        if shape.type_name == "structure" and isinstance(value, dict):
            for name, inner in value.items():
                if name in shape.members:
                    yield from self.not_in_enumeration(
                        inner, shape.members[name], f"{where}.{name}"
                    )
        elif shape.type_name == "list" and isinstance(value, list):
            for number, inner in enumerate(value):
                yield from self.not_in_enumeration(inner, shape.member, f"{where}[{number}]")
        elif (
            shape.type_name == "string" and getattr(shape, "enum", None) and value not in shape.enum
        ):
            yield f"{where}: {value!r} is none of {shape.enum}"


def every_request_fits_botocores_models(definitions: Definitions):
    models = Models()
    for service, operation, parameters in definitions.requests():
        expect(
            models.problems(service, operation, parameters),
            [],
            f"problems of {service}:{operation}",
        )


def botocores_models_reject_what_is_wrong(definitions: Definitions):
    models = Models()

    def broken(service: str, operation: str, parameters: dict, change):
        parameters = copy.deepcopy(parameters)
        change(parameters)
        return bool(models.problems(service, operation, parameters))

    batch = ("batch", "RegisterJobDefinition", definitions.batch)
    ecs = ("ecs", "RegisterTaskDefinition", definitions.ecs)
    sentinel = ("ecs", "RegisterTaskDefinition", definitions.sentinel)
    service = ("ecs", "CreateService", definitions.service)
    for what, request, change in [
        (
            "an unknown field of a retry strategy",
            batch,
            lambda it: it["retryStrategy"].update(evaluateOnExits=[]),
        ),
        (
            "an exit code that is a number",
            batch,
            lambda it: it["retryStrategy"]["evaluateOnExit"][0].update(onExitCode=69),
        ),
        (
            "an action that does not exist",
            batch,
            lambda it: it["retryStrategy"]["evaluateOnExit"][0].update(action="STOP"),
        ),
        (
            "a container without its name's type",
            ecs,
            lambda it: it["containerDefinitions"][0].update(name=1),
        ),
        (
            "a stop timeout that is text",
            ecs,
            lambda it: it["containerDefinitions"][0].update(stopTimeout="60s"),
        ),
        ("a network mode that does not exist", ecs, lambda it: it.update(networkMode="vpc")),
        ("a task without a family", ecs, lambda it: it.pop("family")),
        (
            "a health check whose interval is text",
            sentinel,
            lambda it: it["containerDefinitions"][0]["healthCheck"].update(interval="30s"),
        ),
        (
            "an unknown field of a service's deployment",
            service,
            lambda it: it["deploymentConfiguration"].update(maximumPercentage=100),
        ),
        ("a service without a name", service, lambda it: it.pop("serviceName")),
        (
            "a schedule without a window",
            ("scheduler", "CreateSchedule", definitions.schedule),
            lambda it: it.pop("FlexibleTimeWindow"),
        ),
    ]:
        expect(broken(*request, change), True, f"whether {what} is rejected")


# Maps of CloudFormation whose keys are the user's own, and so are not changed.
FREE = ("options", "tags")


def capitalised(value, key=""):
    """An API's parameters in CloudFormation's spelling."""
    if isinstance(value, dict) and key not in FREE:
        return {
            name[0].upper() + name[1:]: capitalised(inner, name) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [capitalised(inner) for inner in value]
    return value


def task_definition(parameters: dict) -> dict:
    """A task definition in CloudFormation's spelling, which is not always the API's capitalised."""
    ecs = capitalised(parameters)
    for volume in ecs["Volumes"]:
        if "EfsVolumeConfiguration" in volume:
            configuration = volume.pop("EfsVolumeConfiguration")
            configuration["FilesystemId"] = configuration.pop("FileSystemId")
            configuration["AuthorizationConfig"]["IAM"] = configuration["AuthorizationConfig"].pop(
                "Iam"
            )
            volume["EFSVolumeConfiguration"] = configuration
    return ecs


def template(definitions: Definitions) -> dict:
    """All of it as a CloudFormation template, for its linter."""
    # Of this service, the API's names and CloudFormation's differ in one letter.
    sentinel_schedule = copy.deepcopy(definitions.sentinel_schedule)
    network = sentinel_schedule["Target"]["EcsParameters"]["NetworkConfiguration"]
    network["AwsvpcConfiguration"] = network.pop("awsvpcConfiguration")
    resources = {
        "Task": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": task_definition(definitions.ecs),
        },
        "Sentinel": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": task_definition(definitions.sentinel),
        },
        "SentinelService": {
            "Type": "AWS::ECS::Service",
            "Properties": capitalised(definitions.service),
        },
        "SentinelSchedule": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": sentinel_schedule,
        },
        "Job": {"Type": "AWS::Batch::JobDefinition", "Properties": capitalised(definitions.batch)},
        "Schedule": {"Type": "AWS::Scheduler::Schedule", "Properties": definitions.schedule},
    }
    for kind in KINDS:
        properties = {
            "RoleArn": definitions.state_machine(kind)["roleArn"],
            "Definition": definitions.machines[kind],
        }
        resources[f"Machine{kind}"] = {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": properties,
        }
    for role, (trust, policies) in ROLES.items():
        named = [
            {
                "PolicyName": policy.split(".")[0] + str(number),
                "PolicyDocument": json.loads(text(f"iam/{policy}")),
            }
            for number, policy in enumerate(policies)
        ]
        properties = {
            "AssumeRolePolicyDocument": json.loads(text(f"iam/{trust}")),
            "Policies": named,
        }
        resources["".join(part.capitalize() for part in role.split("-"))] = {
            "Type": "AWS::IAM::Role",
            "Properties": properties,
        }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


def lint(document: dict) -> list[str]:
    """The findings of cfn-lint, as `RULE: message`."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(document, file)
        file.flush()
        linter = [
            pathlib.Path(sys.executable).with_name("cfn-lint"),
            "--regions",
            REGION,
            "--format",
            "json",
            "--template",
            file.name,
        ]
        done = subprocess.run(linter, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2, 4, 6, 8, 10, 12, 14) or not done.stdout.strip():
        raise AssertionError(f"cfn-lint: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return [
        f"{found['Rule']['Id']} {'/'.join(str(part) for part in found['Location']['Path'])}: {found['Message']}"
        for found in json.loads(done.stdout)
    ]


def cfn_lint_finds_nothing(definitions: Definitions):
    expect(lint(template(definitions)), [], "findings")


def cfn_lint_rejects_what_is_wrong(definitions: Definitions):
    def rules(change) -> set[str]:
        document = copy.deepcopy(template(definitions))
        change(document["Resources"])
        return {found.split()[0] for found in lint(document)}

    def states(resources):
        return resources["Machineecs"]["Properties"]["Definition"]["States"]

    def several(resources):
        states(resources)["Wait"]["Type"] = "Sleep"
        resources["Job"]["Properties"]["RetryStrategy"]["EvaluateOnExit"][0]["OnExitCodes"] = "69"
        resources["Task"]["Properties"]["ContainerDefinitions"][0]["StopTimeouts"] = 60

    expect(
        {"E3601", "E3002"} <= rules(several),
        True,
        "whether a state of no type and unknown fields are found",
    )
    expect(
        "E3601" in rules(lambda resources: states(resources)["Refused"].update(Next="Done")),
        True,
        "whether an end that goes on is found",
    )


def existing_network() -> dict:
    """Subnets and a security group in moto, which makes up their ids."""
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
        for number in range(2)
    ]
    group = ec2.create_security_group(VpcId=vpc, GroupName="sentinel", Description="sentinel")
    return {"subnets": subnets, "securityGroups": [group["GroupId"]]}


def moto_takes_them_all(definitions: Definitions):
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        # What the README takes for granted.
        cluster = definitions.service["cluster"]
        boto3.client("ecs", region_name=REGION).create_cluster(clusterName=cluster)
        network = existing_network()
        for service, operation, parameters in definitions.requests():
            client = boto3.client(service, region_name=REGION)
            parameters = copy.deepcopy(parameters)
            if operation == "CreateStateMachine":
                parameters["name"] += str(len(client.list_state_machines()["stateMachines"]))
            if operation == "CreateService":
                parameters["networkConfiguration"]["awsvpcConfiguration"] |= network
            method = "".join(
                f"_{letter.lower()}" if letter.isupper() else letter for letter in operation
            ).lstrip("_")
            try:
                answer = getattr(client, method)(**parameters)
            except Exception as error:
                raise AssertionError(f"{service}:{operation}: {error}") from error
            expect(
                answer["ResponseMetadata"]["HTTPStatusCode"],
                200,
                f"the answer to {service}:{operation}",
            )


def broken_machines_are_not_taken(definitions: Definitions):
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        client = boto3.client("stepfunctions", region_name=REGION)
        for what, change in [
            ("no start", lambda machine: machine.pop("StartAt")),
            ("a state of no type", lambda machine: machine["States"]["Wait"].pop("Type")),
        ]:
            machine = copy.deepcopy(definitions.machines["ecs"])
            change(machine)
            try:
                client.create_state_machine(
                    name="broken",
                    definition=json.dumps(machine),
                    roleArn=f"arn:aws:iam::{ACCOUNT}:role/x",
                )
            except botocore.exceptions.ClientError as error:
                # moto has no error code for it.
                expect(
                    "definition" in str(error),
                    True,
                    f"whether it is the definition that is refused: {error}",
                )
                continue
            raise AssertionError(f"a state machine with {what} was taken")


def every_state_is_reached_and_leads_somewhere(definitions: Definitions):
    for kind, machine in definitions.machines.items():
        states = machine["States"]
        leads = {name: set() for name in states}
        for name, state in states.items():
            for part in [state, *state.get("Choices", []), *state.get("Catch", [])]:
                leads[name] |= {part[key] for key in ("Next", "Default") if key in part}
        reached, todo = set(), [machine["StartAt"]]
        while todo:
            name = todo.pop()
            expect(name in states, True, f"{kind}: whether `{name}` exists")
            if name not in reached:
                reached.add(name)
                todo += leads[name]
        expect(set(states) - reached, set(), f"{kind}: states that nothing leads to")
    # Only the task and the place of the exit code differ; the handling of the code does not.
    alike = [
        {
            name: state
            for name, state in machine["States"].items()
            if name
            not in ("Run the guard", "Find the guard's container", "Is it there?", "Take it")
        }
        for machine in definitions.machines.values()
    ]
    expect(alike[0], alike[1], "states of the two machines other than those that must differ")


def retries(
    definitions: Definitions,
    code: int | None,
    status_reason: str = "Essential container in task exited",
) -> bool:
    """Whether Batch retries: the first entry whose conditions all match decides; if none matches,
    it does.
    """
    seen = {
        "onExitCode": "" if code is None else str(code),
        "onReason": "",
        "onStatusReason": status_reason,
    }
    for entry in definitions.batch["retryStrategy"]["evaluateOnExit"]:
        if all(
            fnmatch.fnmatchcase(seen[condition], pattern)
            for condition, pattern in entry.items()
            if condition != "action"
        ):
            return entry["action"].upper() == "RETRY"
    return True


def batch_tries_again_what_it_should(definitions: Definitions, codes: Codes):
    strategy = definitions.batch["retryStrategy"]
    expect(
        1 < strategy["attempts"] <= 10 and len(strategy["evaluateOnExit"]) <= 5,
        True,
        "attempts and entries within Batch's limits",
    )
    for entry in strategy["evaluateOnExit"]:
        pattern = entry.get("onExitCode", "0")
        expect(
            pattern.rstrip("*").isdigit() and "*" not in pattern[:-1],
            True,
            f"whether {pattern} is digits with one star at the end at most",
        )
    # 129, a lost terminal, cannot occur in a container.
    saw = {code: retries(definitions, code) for code in codes.all if code not in (0, 129)}
    expect(saw, {code: code == 69 or code in codes.signals for code in saw}, "what is tried again")
    expect(
        retries(definitions, None, "Host EC2 (instance i-0123456789abcdef0) terminated."),
        True,
        "whether a lost host is tried again",
    )
    expect(
        retries(
            definitions,
            None,
            "CannotPullContainerError: pull image manifest has been retried 7 time(s)",
        ),
        False,
        "whether a missing image is tried again",
    )


def error_name(name: str):
    """An error by its name; moto's simulated failures do not have Step Functions' own errors."""
    return StatesErrorName.from_name(name) if name.startswith("States.") else CustomErrorName(name)


class Machine:
    """A state machine in moto, with a simulated guard."""

    def __init__(self, definitions: Definitions, kind: str):
        self.definitions, self.kind = definitions, kind
        self.waits: list[int] = []

    def ending(self, code: int | None, sidecar: int | None = None) -> dict:
        """The description of a task or job that ended, as Step Functions returns it."""
        if self.kind == "batch":
            container = {} if code is None else {"ExitCode": code}
            attempts = (
                [{"Container": {"ExitCode": 69}}, {"Container": container}]
                if code == 69
                else [{"Container": container}]
            )
            return {
                "JobName": NAME,
                "Status": "FAILED",
                "Attempts": attempts,
                "Container": container,
            }
        containers = [
            {"Name": NAME, "LastStatus": "STOPPED", **({} if code is None else {"ExitCode": code})}
        ]
        if sidecar is not None:
            containers.insert(
                0,
                {"Name": "aws-guardduty-agent-x1y2", "LastStatus": "STOPPED", "ExitCode": sidecar},
            )
        return {
            "Containers": containers,
            "LastStatus": "STOPPED",
            "StopCode": "EssentialContainerExited",
        }

    def played(self, answer) -> list:
        """The guard's task, for as many attempts as there are answers: a code, a task's or job's
        description, or an error and its cause.
        """
        played = []
        for number, one in enumerate(answer if isinstance(answer, list) else [answer]):
            if isinstance(one, tuple):
                played.append(MockedResponseThrow(number, number, *one))
            elif isinstance(one, dict):
                played.append(
                    MockedResponseThrow(
                        number, number, "States.TaskFailed", json.dumps(one, separators=(",", ":"))
                    )
                )
            elif one == 0:
                played.append(MockedResponseReturn(number, number, self.ending(0)))
            else:
                played.append(
                    MockedResponseThrow(
                        number,
                        number,
                        "States.TaskFailed",
                        json.dumps(self.ending(one), separators=(",", ":")),
                    )
                )
        return played

    def run(self, answer, topic_exists: bool = True) -> tuple[str, str | None, str, list[str]]:
        """Runs it to its end; returns status, error, cause, and the subjects of the pages."""
        self.waits.clear()
        guard = StateMockedResponses("Run the guard", "guard", self.played(answer))
        case = MockTestCase(NAME, "case", [guard])
        environment = ExecutionWorker._get_evaluation_environment

        answers = iter(case.state_mocked_responses["Run the guard"].mocked_responses)

        def with_the_guard_played(worker):
            made = environment(worker)
            made.mock_test_case = case
            return made

        with (
            mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
            unittest.mock.patch.object(
                ExecutionWorker, "_get_evaluation_environment", with_the_guard_played
            ),
            # moto counts the tries within one stay in a state; here each stay is a try.
            unittest.mock.patch.object(
                Environment, "get_current_mocked_response", lambda _: next(answers)
            ),
            unittest.mock.patch.object(mock_eval_utils, "CustomErrorName", error_name),
            # Between the tries of a page; every wait of the machine itself is a Wait state.
            unittest.mock.patch.object(retrier_decl, "time", unittest.mock.MagicMock()),
            unittest.mock.patch.object(
                WaitFunction,
                "_wait_interval",
                lambda _, env, wait_seconds: self.waits.append(wait_seconds),
            ),
        ):
            machines, sns, sqs = (
                boto3.client(service, region_name=REGION)
                for service in ("stepfunctions", "sns", "sqs")
            )
            topic = sns.create_topic(Name="data-oncall" if topic_exists else "another")["TopicArn"]
            queue = sqs.create_queue(QueueName="pager")["QueueUrl"]
            queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])[
                "Attributes"
            ]["QueueArn"]
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
            machine = machines.create_state_machine(**self.definitions.state_machine(self.kind))[
                "stateMachineArn"
            ]
            execution = machines.start_execution(stateMachineArn=machine, name="night", input="{}")[
                "executionArn"
            ]
            Stage.until(
                None,
                lambda: machines.describe_execution(executionArn=execution)["status"] != "RUNNING",
                "the execution ends",
            )
            ended = machines.describe_execution(executionArn=execution)
            history = json.dumps(
                machines.get_execution_history(executionArn=execution)["events"], default=str
            )
            # An error of the interpreter, or of a path in the definition, must never be the reason
            # for an end.
            expect(
                "States.Runtime" in history or "PathFailure" in history,
                False,
                f"whether the machine itself went wrong\n{history}",
            )
            expect(len(list(answers)), 0, "answers of the guard that nobody asked for")
            messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
                "Messages", []
            )
            pages = [json.loads(message["Body"]) for message in messages]
            for page in pages:
                expect(
                    execution in page["Message"],
                    True,
                    f"whether the page names the execution: {page['Message']}",
                )
            return (
                ended["status"],
                ended.get("error"),
                ended.get("cause", ""),
                [page["Subject"] for page in pages],
            )


UNSAFE = ["ACT NOW: an unsafe EMR cluster may still be running"]
UNKNOWN = ["ACT NOW: the guard of an EMR run ended without an answer"]


def every_code_has_its_own_end(definitions: Definitions, kind: str, codes: Codes):
    machine = Machine(definitions, kind)
    ends = dict.fromkeys(codes.all, ("FAILED", "EmrEtlGuard.Failed", []))
    ends |= dict.fromkeys([0, 3], ("SUCCEEDED", None, []))
    ends[69] = ("FAILED", "EmrEtlGuard.FactsUnknown", [])
    ends[71] = ("FAILED", "EmrEtlGuard.UnsafeClusterAlive", UNSAFE)
    ends[75] = ("FAILED", "EmrEtlGuard.Unconfirmed", [])
    ends[76] = ("FAILED", "EmrEtlGuard.UnsafeClusterTerminated", [])
    ends[77] = ("FAILED", "EmrEtlGuard.Refused", [])
    ends |= dict.fromkeys(codes.signals, ("FAILED", "EmrEtlGuard.NobodyKnows", UNKNOWN))
    for code, (status, error, pages) in ends.items():
        again = code == 69 or code in codes.signals
        saw = machine.run([code] * (4 if again else 1))
        expect((saw[0], saw[1], saw[3]), (status, error, pages), f"how {code} ends ({saw[2]})")
        expect(machine.waits, [600, 1200, 2400] if again else [], f"seconds waited after {code}")
        if error == "EmrEtlGuard.Failed":
            expect(saw[2], f"emr-etl-guard ended with {code}; its log says why", "the cause")


def an_attempt_that_succeeds_ends_the_tries(definitions: Definitions, kind: str):
    machine = Machine(definitions, kind)
    for answers, wanted, waits in [
        ([69, 0], ("SUCCEEDED", None), [600]),
        ([137, 69, 3], ("SUCCEEDED", None), [600, 1200]),
        ([69, 77], ("FAILED", "EmrEtlGuard.Refused"), [600]),
        ([143, 71], ("FAILED", "EmrEtlGuard.UnsafeClusterAlive"), [600]),
    ]:
        expect(machine.run(answers)[:2], wanted, f"how {answers} ends")
        expect(machine.waits, waits, f"seconds waited in {answers}")


def no_answer_pages_a_person(definitions: Definitions, kind: str):
    machine = Machine(definitions, kind)
    for what, answer in [
        ("a container that never ran", machine.ending(None)),
        ("a cause that is no JSON", ("States.TaskFailed", "Task failed to start")),
        ("a run that was out of time", ("States.Timeout", "")),
        (
            "a call that was refused",
            ("ECS.AccessDeniedException", "User is not authorized to perform: ecs:RunTask"),
        ),
    ]:
        saw = machine.run(answer)
        expect(
            (saw[0], saw[1], saw[3]),
            ("FAILED", "EmrEtlGuard.NobodyKnows", UNKNOWN),
            f"how {what} ends",
        )


def a_page_that_cannot_be_sent_hides_nothing(definitions: Definitions, kind: str):
    saw = Machine(definitions, kind).run(71, topic_exists=False)
    expect(
        (saw[0], saw[1], saw[3]),
        ("FAILED", "EmrEtlGuard.UnsafeClusterAlive", []),
        "how 71 ends without a topic",
    )


def a_sidecars_code_is_not_the_guards(definitions: Definitions):
    # Step Functions fails the task for it all the same.
    machine = Machine(definitions, "ecs")
    for sidecar, code, wanted in [
        (137, 0, ("SUCCEEDED", None)),
        (0, 71, ("FAILED", "EmrEtlGuard.UnsafeClusterAlive")),
        (77, 3, ("SUCCEEDED", None)),
    ]:
        expect(
            machine.run(machine.ending(code, sidecar))[:2],
            wanted,
            f"how a sidecar's {sidecar} beside the guard's {code} ends",
        )


def the_definitions_fit_each_other(definitions: Definitions):
    ecs, batch, machines = definitions.ecs, definitions.batch, definitions.machines
    arn = f"arn:aws:iam::{ACCOUNT}:role/"
    container, job = definitions.ecs_container, definitions.batch_container
    expect(
        {ecs["taskRoleArn"], job["jobRoleArn"]}, {f"{arn}emr-etl-guard-task"}, "the guard's role"
    )
    expect(
        {ecs["executionRoleArn"], job["executionRoleArn"]},
        {f"{arn}emr-etl-guard-execution"},
        "ECS' role",
    )
    expect(
        definitions.schedule["Target"]["RoleArn"],
        f"{arn}emr-etl-guard-scheduler",
        "Scheduler's role",
    )
    statements = {
        statement["Sid"]: statement
        for statement in json.loads(text("iam/state-machine-role.policy.json"))["Statement"]
    }
    expect(
        statements["PassRoles"]["Resource"],
        [ecs["taskRoleArn"], ecs["executionRoleArn"]],
        "roles that the state machine may pass",
    )
    run = {
        kind: machine["States"]["Run the guard"]["Parameters"] for kind, machine in machines.items()
    }
    expect(
        (run["ecs"]["TaskDefinition"], run["batch"]["JobDefinition"]),
        (ecs["family"], batch["jobDefinitionName"]),
        "what is run",
    )
    expect(
        statements["RunTask"]["Condition"]["ArnEquals"]["ecs:cluster"],
        run["ecs"]["Cluster"],
        "the cluster",
    )
    expect(run["batch"]["JobQueue"] in statements["SubmitJob"]["Resource"], True, "the job queue")
    topics = {
        state["Parameters"]["TopicArn"]
        for machine in machines.values()
        for state in machine["States"].values()
        if "TopicArn" in state.get("Parameters", {})
    }
    expect(topics, set(statements["Page"]["Resource"]), "the topic")
    [started] = json.loads(text("iam/scheduler-role.policy.json"))["Statement"]
    expect(
        started["Resource"],
        [definitions.schedule["Target"]["Arn"]],
        "the state machine that is started",
    )
    expect(container["secrets"], job["secrets"], "secrets")
    execution = {
        statement["Sid"]: statement["Resource"]
        for statement in json.loads(text("iam/execution-role.policy.json"))["Statement"]
    }
    expect(
        {":".join(secret["valueFrom"].split(":")[:7]) for secret in container["secrets"]},
        set(execution["RunnerKeys"]),
        "the secret",
    )
    expect(
        {container["logConfiguration"]["options"]["awslogs-group"]}
        == {job["logConfiguration"]["options"]["awslogs-group"]}
        == {execution["Log"][0].split(":")[6]},
        True,
        "the log group",
    )
    expect(ecs["volumes"], job["volumes"], "volumes")
    [state] = json.loads(text("iam/task-role.state.policy.json"))["Statement"]
    efs = ecs["volumes"][0]["efsVolumeConfiguration"]
    expect(state["Resource"][0].rpartition("/")[2], efs["fileSystemId"], "the file system")
    expect(
        state["Condition"]["StringEquals"]["elasticfilesystem:AccessPointArn"].rpartition("/")[2],
        efs["authorizationConfig"]["accessPointId"],
        "the access point",
    )


def the_sentinels_definitions_fit_each_other(definitions: Definitions):
    task, service = definitions.sentinel, definitions.service
    target = definitions.sentinel_schedule["Target"]
    expect(service["taskDefinition"], task["family"], "the service's task")
    expect(
        target["EcsParameters"]["TaskDefinitionArn"],
        f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{task['family']}",
        "the schedule's task",
    )
    expect(target["Arn"].rpartition("/")[2], service["cluster"], "the schedule's cluster")
    ours = service["networkConfiguration"]["awsvpcConfiguration"]
    theirs = target["EcsParameters"]["NetworkConfiguration"]["awsvpcConfiguration"]
    expect(theirs, capitalised(ours), "the schedule's network")
    [override] = json.loads(target["Input"])["containerOverrides"]
    expect(override["name"], definitions.sentinel_container["name"], "the container's name")
    statements = {
        statement["Sid"]: statement
        for statement in json.loads(text("iam/sentinel-scheduler-role.policy.json"))["Statement"]
    }
    expect(
        statements["RunTask"]["Condition"]["ArnEquals"]["ecs:cluster"],
        target["Arn"],
        "the cluster in which the schedule may start tasks",
    )
    expect(
        statements["RunTask"]["Resource"][0],
        target["EcsParameters"]["TaskDefinitionArn"],
        "the task that the schedule may start",
    )
    expect(
        statements["PassRoles"]["Resource"],
        [task["taskRoleArn"], task["executionRoleArn"]],
        "the roles that the schedule may pass",
    )
    expect(
        {task["taskRoleArn"].rpartition("/")[2], target["RoleArn"].rpartition("/")[2]}
        <= set(ROLES),
        True,
        "whether the README makes the roles",
    )
    [volume] = task["volumes"]
    efs = volume["efsVolumeConfiguration"]
    [state] = json.loads(text("iam/sentinel-role.state.policy.json"))["Statement"]
    expect(state["Resource"][0].rpartition("/")[2], efs["fileSystemId"], "the file system")
    access_point = efs["authorizationConfig"]["accessPointId"]
    expect(
        state["Condition"]["StringEquals"]["elasticfilesystem:AccessPointArn"].rpartition("/")[2],
        access_point,
        "the access point",
    )
    # The folder of the guarded runs is not the sentinel's.
    [runs] = [it for it in definitions.ecs["volumes"] if it["name"] == "state"]
    expect(
        access_point != runs["efsVolumeConfiguration"]["authorizationConfig"]["accessPointId"],
        True,
        "whether sentinel and runs have a folder each",
    )


def the_service_keeps_one_sentinel(definitions: Definitions):
    service, container = definitions.service, definitions.sentinel_container
    expect(service["desiredCount"], 1, "tasks")
    deployment = service["deploymentConfiguration"]
    expect(
        (deployment["maximumPercent"], deployment["minimumHealthyPercent"]),
        (100, 0),
        "percents by which the old task ends before the new one starts",
    )
    # Developer guide, "Task definition parameters": health check and stop timeout.
    health = container["healthCheck"]
    expect(
        5 <= health["interval"] <= 300
        and 2 <= health["timeout"] <= 60
        and 1 <= health["retries"] <= 10
        and 0 <= health["startPeriod"] <= 300
        and container["stopTimeout"] <= 120,
        True,
        "whether the times are within ECS's limits",
    )
    expect(
        health["command"][:3],
        ["CMD", *container["entryPoint"], container["command"][0]],
        "the program of the health check, without a shell",
    )
    expect(health["command"][3:], ["--probe", "live"], "what it asks")


def the_program_knows_the_sentinels_command_lines(definitions: Definitions, programs: pathlib.Path):
    container = definitions.sentinel_container
    [override] = json.loads(definitions.sentinel_schedule["Target"]["Input"])["containerOverrides"]
    [program] = container["entryPoint"]
    done = subprocess.run(
        [programs / program, "sentinel", "--help"], capture_output=True, text=True, check=False
    )
    expect(done.returncode, 0, f"exit code of `{program} sentinel --help`\n{done.stderr}")
    known = set(re.findall(r"--[a-z-]+", done.stdout))
    for words in (
        container["command"],
        container["healthCheck"]["command"][2:],
        override["command"],
    ):
        expect(words[0], "sentinel", "the command")
        flags = {word for word in words if word.startswith("--")}
        expect(flags - known, set(), "flags that the program does not know")


def seconds(variables: list[dict]) -> int:
    """The guard's stop_timeout."""
    [value] = [
        variable["value"]
        for variable in variables
        if variable["name"] == "EMR_ETL_GUARD_STOP_TIMEOUT"
    ]
    expect(value.endswith("s"), True, f"whether {value} is in seconds")
    return int(value[:-1])


def the_containers_are_hardened_and_can_be_stopped(definitions: Definitions):
    ecs, batch = definitions.ecs_container, definitions.batch_container
    for container in (ecs, batch, definitions.sentinel_container):
        expect(
            (container["user"], container["readonlyRootFilesystem"]),
            ("10001:10001", True),
            "user and root",
        )
        expect(container["linuxParameters"]["initProcessEnabled"], False, "another init")
        state = [
            mount["containerPath"]
            for mount in container["mountPoints"]
            if mount["sourceVolume"] == "state"
        ]
        expect(
            state,
            [
                variable["value"]
                for variable in container["environment"]
                if variable["name"] == "EMR_ETL_GUARD_STATE_DIR"
            ],
            "where the journal is",
        )
        expect("@sha256:" in container["image"], True, "whether the image is named by its digest")
        plain = {variable["name"] for variable in container["environment"]}
        expect(
            plain
            & {
                "AWS_SNOWPLOW_ACCESS_KEY",
                "AWS_SNOWPLOW_SECRET_KEY",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
            },
            set(),
            "keys in plain sight",
        )
    for container in (ecs, definitions.sentinel_container):
        expect(container["linuxParameters"]["capabilities"], {"drop": ["ALL"]}, "capabilities")
    expect(ecs["restartPolicy"], {"enabled": False}, "restarts in place")
    # With a reserve. Fargate allows 120 s at most; Batch always 30 s.
    expect(
        seconds(ecs["environment"]) + 15 <= ecs["stopTimeout"] <= 120,
        True,
        "whether ECS grants the time that a stop takes",
    )
    expect(
        seconds(batch["environment"]) + 5 <= 30,
        True,
        "whether Batch grants the time that a stop takes",
    )
    expect(
        definitions.batch["timeout"]["attemptDurationSeconds"] < 24 * 3600,
        True,
        "whether a run that hangs ends within a day",
    )
    for machine in definitions.machines.values():
        expect(
            machine["States"]["Run the guard"]["TimeoutSeconds"] < 24 * 3600,
            True,
            "whether a run that hangs ends within a day",
        )


def the_task_role_is_what_the_guard_says_it_needs(programs: pathlib.Path):
    env = {
        "PATH": os.environ["PATH"],
        "AWS_SNOWPLOW_ACCESS_KEY": "AKIAFAKE",
        "AWS_SNOWPLOW_SECRET_KEY": "fake",
    }
    argv = [
        programs / NAME,
        "explain",
        "--permissions",
        "--",
        "run",
        "-c",
        "config.yml",
        "-r",
        "resolver.json",
    ]
    done = subprocess.run(argv, cwd=RECORDINGS, env=env, capture_output=True, text=True, check=True)
    expect(
        json.loads(text("iam/task-role.policy.json")),
        json.loads(done.stdout),
        "the policy (write what the guard prints to iam/task-role.policy.json)",
    )


def sentinel_settings() -> str:
    """The sentinel's guard.yml in the README."""
    [settings] = re.findall(r"^```yaml\n(.*?)^```$", text("README.md"), re.MULTILINE | re.DOTALL)
    return settings


def the_sentinels_health_check_is_true_while_it_watches(definitions: Definitions, stage: Stage):
    defined = definitions.sentinel_container
    stage.world()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = sentinel_settings()
    # The network here is the machine's own, where the port may be taken.
    expect(settings.count("127.0.0.1:9477"), 1, "addresses in the README's guard.yml")
    for folder in ("sentinel-settings", "sentinel-state"):
        (stage.folder / folder).mkdir(exist_ok=True)
    file = stage.folder / "sentinel-settings" / "guard.yml"
    file.write_text(settings.replace("127.0.0.1:9477", address))
    [state] = defined["mountPoints"]
    user, group = (int(part) for part in defined["user"].split(":"))

    def started(command: list[str]) -> subprocess.Popen:
        container = Container(
            command,
            {variable["name"]: variable["value"] for variable in defined["environment"]},
            user,
            group,
            defined["readonlyRootFilesystem"],
            [
                (stage.folder / "sentinel-settings", "/etc/emr-etl-guard", True),
                (stage.folder / "sentinel-state", state["containerPath"], False),
            ],
        )
        return stage.contain(container, None)

    health = defined["healthCheck"]["command"][1:]
    expect(finish(started(health)).code, 69, "the health check before the sentinel's start")
    process = started(defined["entryPoint"] + defined["command"])
    try:
        stage.until(
            lambda: process.poll() is not None or finish(started(health)).code == 0,
            "the health check is true",
        )
        stage.stop(process, signal.SIGTERM)
        ended = finish(process)
        expect(ended.code, 0, f"exit code after SIGTERM\n{ended.output}")
    finally:
        process.kill()


def the_sentinels_role_is_what_the_guard_says_it_needs(programs: pathlib.Path):
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(sentinel_settings())
        file.flush()
        env = {"PATH": os.environ["PATH"], "EMR_ETL_GUARD_SETTINGS": file.name}
        argv = [programs / NAME, "explain", "--permissions", "--sentinel"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    expect(done.returncode, 0, f"exit code of `explain --permissions --sentinel`\n{done.stderr}")
    expect(
        json.loads(text("iam/sentinel-role.policy.json")),
        json.loads(done.stdout),
        "the policy (write what the guard prints to iam/sentinel-role.policy.json)",
    )


def container(definitions: Definitions, kind: str, stage: Stage) -> Container:
    """A definition's container, in the image that its comments describe."""
    defined = definitions.ecs_container if kind == "ecs" else definitions.batch_container
    # Batch has no field for it, so the image's is used: the guard under the runner's name.
    entry = defined.get("entryPoint", ["snowplow-emr-etl-runner"])
    secrets = {
        "access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }
    env = {variable["name"]: variable["value"] for variable in defined["environment"]}
    env |= {
        secret["name"]: secrets[secret["valueFrom"].split(":")[7]] for secret in defined["secrets"]
    }
    user, group = (int(part) for part in defined["user"].split(":"))
    mounts = []
    for name, files in (
        ("snowplow", ("config.yml", "resolver.json")),
        ("emr-etl-guard", ("guard.yml",)),
    ):
        (stage.folder / name).mkdir(exist_ok=True)
        for file in files:
            (stage.folder / name / file).write_bytes((stage.folder / file).read_bytes())
        mounts.append((stage.folder / name, f"/etc/{name}", True))
    volumes = {volume["name"]: volume for volume in definitions.ecs["volumes"]}
    for mount in defined["mountPoints"]:
        source = None
        if "efsVolumeConfiguration" in volumes[mount["sourceVolume"]]:
            source = stage.folder / mount["sourceVolume"]
            source.mkdir(exist_ok=True)
        mounts.append((source, mount["containerPath"], mount.get("readOnly", False)))
    return Container(
        entry + defined["command"], env, user, group, defined["readonlyRootFilesystem"], mounts
    )


def the_container_ends_with(
    definitions: Definitions, kind: str, stage: Stage, code: int, launched: int
):
    ended = stage.play(container(definitions, kind, stage), code)
    expect(
        (ended.code, stage.requests("RunJobFlow")),
        (code, launched),
        f"exit code and clusters launched\n{ended.output}",
    )


def a_stop_reaches_the_guard(definitions: Definitions, kind: str, stage: Stage):
    process = stage.contain(container(definitions, kind, stage), 143)
    stage.until(
        lambda: process.poll() is not None or stage.requests("RunJobFlow"), "a cluster is launched"
    )
    stage.stop(process, signal.SIGTERM)
    ended = finish(process)
    expect(ended.code, 143, f"exit code, the runner's own after SIGTERM\n{ended.output}")


def main(programs: pathlib.Path) -> int:
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "AKIASEED",
        "AWS_SECRET_ACCESS_KEY": "seed",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
    }
    # The interpreter logs each failed state; the cases report what matters.
    logging.disable(logging.CRITICAL)
    cases, codes, definitions = Cases("aws"), Codes(programs), Definitions()
    cases.case(
        "every request that the files are for fits botocore's models, enumerations included",
        every_request_fits_botocores_models,
        definitions,
    )
    cases.case(
        "these models reject unknown fields, wrong types, wrong values and what is missing",
        botocores_models_reject_what_is_wrong,
        definitions,
    )
    cases.case(
        "cfn-lint finds nothing in all of it, the Amazon States Language included",
        cfn_lint_finds_nothing,
        definitions,
    )
    cases.case(
        "cfn-lint does find broken states and unknown fields",
        cfn_lint_rejects_what_is_wrong,
        definitions,
    )
    cases.case("moto takes every request", moto_takes_them_all, definitions)
    cases.case(
        "its parser does not take broken state machines", broken_machines_are_not_taken, definitions
    )
    cases.case(
        "every state is reached and leads to one that exists; both machines judge alike",
        every_state_is_reached_and_leads_somewhere,
        definitions,
    )
    cases.case(
        "roles, names, secrets and volumes of all files fit each other",
        the_definitions_fit_each_other,
        definitions,
    )
    cases.case(
        "so do those of the sentinel's task, service and schedule",
        the_sentinels_definitions_fit_each_other,
        definitions,
    )
    cases.case(
        "the service keeps one sentinel, and a health check within ECS's limits",
        the_service_keeps_one_sentinel,
        definitions,
    )
    cases.case(
        "the program knows the command lines of the sentinel's definitions",
        the_program_knows_the_sentinels_command_lines,
        definitions,
        programs,
    )
    cases.case(
        "the README's commands name every file, and every file is there",
        the_readme_names_every_file_and_no_other,
    )
    cases.case(
        "the task's role is what `explain --permissions` prints",
        the_task_role_is_what_the_guard_says_it_needs,
        programs,
    )
    cases.case(
        "so is the sentinel's, for the guard.yml of the README",
        the_sentinels_role_is_what_the_guard_says_it_needs,
        programs,
    )
    cases.case(
        "the containers are hardened, and a stop has the time it takes",
        the_containers_are_hardened_and_can_be_stopped,
        definitions,
    )
    cases.case(
        "Batch tries 69, signals and lost hosts again, and nothing else",
        batch_tries_again_what_it_should,
        definitions,
        codes,
    )
    for kind in KINDS:
        cases.case(
            f"{kind} state machine: each of the {len(codes.all)} exit codes has its own end, pages and waits",
            every_code_has_its_own_end,
            definitions,
            kind,
            codes,
        )
        cases.case(
            f"{kind} state machine: a later attempt decides",
            an_attempt_that_succeeds_ends_the_tries,
            definitions,
            kind,
        )
        cases.case(
            f"{kind} state machine: a guard without an answer pages a person",
            no_answer_pages_a_person,
            definitions,
            kind,
        )
        cases.case(
            f"{kind} state machine: a page that cannot be sent does not hide what it is about",
            a_page_that_cannot_be_sent_hides_nothing,
            definitions,
            kind,
        )
    cases.case(
        "ecs state machine: a sidecar's exit code is not the guard's",
        a_sidecars_code_is_not_the_guards,
        definitions,
    )
    with Stage(programs) as stage:
        cases.case(
            "the sentinel's container: its health check is true while it watches, and a stop ends it",
            the_sentinels_health_check_is_true_while_it_watches,
            definitions,
            stage,
        )
        for kind in KINDS:
            for code, launched in ((0, 1), (3, 0), (77, 0)):
                cases.case(
                    f"{kind} container: ends with {code}",
                    the_container_ends_with,
                    definitions,
                    kind,
                    stage,
                    code,
                    launched,
                )
            cases.case(
                f"{kind} container: a SIGTERM to process 1 reaches the guard",
                a_stop_reaches_the_guard,
                definitions,
                kind,
                stage,
            )
    return cases.finish()


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve()))
