#!/usr/bin/python3
"""The life of a function with Debian's own boto3, unmodified but for the endpoint; every answer is asserted.

Usage: boto3_lifecycle.py ENDPOINT [CODE_DIR UPDATED_CODE_DIR]

The folders hold an app.py whose handler answers what CODE does, with "release" 1 and 2; without them CODE is used.
The node must have python3. Leaves nothing behind. Exit code 1 when something is not as AWS Lambda has it.
"""

import base64
import io
import json
import os
import pathlib
import sys
import time
import urllib.request
import uuid
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

CODE = '''
import os


def handler(event, context):
    print("release RELEASE has", event)
    if event.get("fail"):
        raise ValueError("asked to")
    return {
        "release": RELEASE,
        "event": event,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "stage": os.environ.get("STAGE"),
    }
'''
ROLE = "arn:aws:iam::000000000000:role/any"
PATIENCE = {"Delay": 1, "MaxAttempts": 600}


def zip_of(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def zip_of_folder(folder):
    root = pathlib.Path(folder)
    return zip_of({str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()})


class Lifecycle:
    def __init__(self, endpoint, codes):
        self.codes = codes
        self.name = "boto3-" + uuid.uuid4().hex[:8]
        self.client = boto3.client(
            "lambda",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", "test"),
            aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
            config=Config(read_timeout=300, retries={"total_max_attempts": 1}),
        )

    def fails(self, code, status, call, **arguments):
        try:
            call(**arguments)
        except ClientError as error:
            assert error.response["Error"]["Code"] == code, error.response
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error.response
            return error.response
        raise AssertionError(f"{call.__name__} should have failed with {code}")

    def invoke(self, event, **arguments):
        answer = self.client.invoke(FunctionName=self.name, Payload=json.dumps(event), **arguments)
        payload = answer["Payload"].read()
        return answer, json.loads(payload) if payload else None

    def wait(self, waiter, **arguments):
        self.client.get_waiter(waiter).wait(FunctionName=self.name, WaiterConfig=PATIENCE, **arguments)

    def create(self):
        self.fails("ResourceNotFoundException", 404, self.client.get_function, FunctionName=self.name)
        arguments = {
            "FunctionName": self.name,
            "Runtime": "python3.11",
            "Role": ROLE,
            "Handler": "app.handler",
            "Code": {"ZipFile": self.codes[0]},
            "Timeout": 30,
            "MemorySize": 128,
            "Environment": {"Variables": {"STAGE": "one"}},
            "Tags": {"team": "clients"},
        }
        made = self.client.create_function(**arguments)
        assert made["ResponseMetadata"]["HTTPStatusCode"] == 201, made
        assert made["State"] == "Pending" and "LastUpdateStatus" not in made, made
        assert made["Version"] == "$LATEST" and made["CodeSize"] == len(self.codes[0]), made
        assert made["FunctionArn"].endswith(":function:" + self.name), made
        self.arn = made["FunctionArn"]
        self.fails("ResourceConflictException", 409, self.client.create_function, **arguments)
        self.wait("function_active_v2")
        active = self.client.get_function(FunctionName=self.arn)
        assert active["Configuration"]["State"] == "Active", active
        assert active["Configuration"]["LastUpdateStatus"] == "Successful", active
        assert active["Configuration"]["Environment"]["Variables"] == {"STAGE": "one"}, active
        assert active["Tags"] == {"team": "clients"}, active

    def invoke_each_way(self):
        answer, payload = self.invoke({"n": 1})
        assert answer["StatusCode"] == 200 and "FunctionError" not in answer, answer
        assert answer["ExecutedVersion"] == "$LATEST", answer
        assert payload["release"] == 1 and payload["event"] == {"n": 1} and payload["stage"] == "one", payload
        assert payload["version"] == "$LATEST" and payload["arn"] == self.arn, payload

        answer, _ = self.invoke({"n": 2}, LogType="Tail")
        log = base64.b64decode(answer["LogResult"]).decode()
        for line in ("START RequestId: ", "release 1 has", "END RequestId: ", "REPORT RequestId: "):
            assert line in log, log

        answer, payload = self.invoke({"fail": True})
        assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled", answer
        assert payload["errorType"] == "ValueError" and payload["errorMessage"] == "asked to", payload

        answer, payload = self.invoke({"n": 3}, InvocationType="Event")
        assert answer["StatusCode"] == 202 and payload is None, answer
        answer, payload = self.invoke({"n": 4}, InvocationType="DryRun")
        assert answer["StatusCode"] == 204 and payload is None, answer
        self.fails(
            "InvalidRequestContentException", 400, self.client.invoke, FunctionName=self.name, Payload=b"{not json"
        )
        self.fails("ResourceNotFoundException", 404, self.client.invoke, FunctionName=self.name, Qualifier="nothing")

    def update(self):
        before = self.client.get_function_configuration(FunctionName=self.name)
        self.fails(
            "PreconditionFailedException",
            412,
            self.client.update_function_code,
            FunctionName=self.name,
            ZipFile=self.codes[1],
            RevisionId=str(uuid.uuid4()),
        )
        updated = self.client.update_function_code(
            FunctionName=self.name, ZipFile=self.codes[1], RevisionId=before["RevisionId"]
        )
        assert updated["LastUpdateStatus"] == "InProgress" and updated["State"] == "Active", updated
        assert updated["CodeSha256"] != before["CodeSha256"], updated
        assert updated["RevisionId"] != before["RevisionId"], updated
        self.wait("function_updated_v2")
        assert self.invoke({})[1]["release"] == 2

        self.client.update_function_configuration(
            FunctionName=self.name, Environment={"Variables": {"STAGE": "two"}}, Description="changed"
        )
        self.wait("function_updated_v2")
        assert self.invoke({})[1]["stage"] == "two"
        configuration = self.client.get_function_configuration(FunctionName=self.name)
        assert configuration["Description"] == "changed" and configuration["Timeout"] == 30, configuration

    def publish(self, version):
        published = self.client.publish_version(FunctionName=self.name)
        assert published["ResponseMetadata"]["HTTPStatusCode"] == 201, published
        assert published["Version"] == version, published
        assert published["FunctionArn"] == f"{self.arn}:{version}", published
        self.wait("published_version_active", Qualifier=version)

    def versions_and_aliases(self):
        self.publish("1")
        assert self.client.publish_version(FunctionName=self.name)["Version"] == "1"
        answer, payload = self.invoke({}, Qualifier="1")
        assert answer["ExecutedVersion"] == "1" and payload["version"] == "1", (answer, payload)

        self.client.update_function_code(FunctionName=self.name, ZipFile=self.codes[0])
        self.wait("function_updated_v2")
        self.publish("2")
        versions = self.client.list_versions_by_function(FunctionName=self.name)["Versions"]
        assert [one["Version"] for one in versions] == ["$LATEST", "1", "2"], versions

        alias = self.client.create_alias(FunctionName=self.name, Name="live", FunctionVersion="1")
        assert alias["AliasArn"] == self.arn + ":live", alias
        answer, payload = self.invoke({}, Qualifier="live")
        assert answer["ExecutedVersion"] == "1" and payload["release"] == 2, (answer, payload)
        assert payload["arn"] == self.arn + ":live", payload

        # A weight of 1 leaves nothing to chance.
        self.client.update_alias(
            FunctionName=self.name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}}
        )
        answer, payload = self.invoke({}, Qualifier="live")
        assert answer["ExecutedVersion"] == "2" and payload["release"] == 1, (answer, payload)
        got = self.client.get_alias(FunctionName=self.name, Name="live")
        assert got["RoutingConfig"]["AdditionalVersionWeights"] == {"2": 1.0}, got
        moved = self.client.update_alias(
            FunctionName=self.name, Name="live", FunctionVersion="2", RoutingConfig={}, RevisionId=got["RevisionId"]
        )
        assert moved["FunctionVersion"] == "2" and not moved.get("RoutingConfig"), moved
        self.fails(
            "ResourceConflictException", 409, self.client.delete_function, FunctionName=self.name, Qualifier="2"
        )
        assert len(self.client.list_aliases(FunctionName=self.name)["Aliases"]) == 1

    def concurrency(self):
        put = self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=0)
        assert put["ReservedConcurrentExecutions"] == 0, put
        refused = self.fails("TooManyRequestsException", 429, self.client.invoke, FunctionName=self.name)
        assert refused["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", refused
        got = self.client.get_function_concurrency(FunctionName=self.name)
        assert got["ReservedConcurrentExecutions"] == 0, got
        self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=5)
        assert self.invoke({})[0]["StatusCode"] == 200
        self.client.delete_function_concurrency(FunctionName=self.name)
        assert "ReservedConcurrentExecutions" not in self.client.get_function_concurrency(FunctionName=self.name)

    def lists(self):
        pages = self.client.get_paginator("list_versions_by_function").paginate(
            FunctionName=self.name, PaginationConfig={"PageSize": 1}
        )
        assert [one["Version"] for page in pages for one in page["Versions"]] == ["$LATEST", "1", "2"]
        pages = self.client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
        assert self.name in [one["FunctionName"] for page in pages for one in page["Functions"]]
        pages = self.client.get_paginator("list_functions").paginate(FunctionVersion="ALL")
        arns = [one["FunctionArn"] for page in pages for one in page["Functions"]]
        assert self.arn + ":1" in arns and self.arn + ":$LATEST" in arns, arns

    def asynchronous_settings(self):
        put = self.client.put_function_event_invoke_config(
            FunctionName=self.name, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60
        )
        assert put["FunctionArn"] == self.arn + ":$LATEST" and put["MaximumRetryAttempts"] == 0, put
        updated = self.client.update_function_event_invoke_config(FunctionName=self.name, MaximumRetryAttempts=1)
        assert updated["MaximumEventAgeInSeconds"] == 60 and updated["MaximumRetryAttempts"] == 1, updated
        got = self.client.get_function_event_invoke_config(FunctionName=self.name)
        assert got["MaximumRetryAttempts"] == 1 and got["LastModified"].year > 2000, got
        listed = self.client.list_function_event_invoke_configs(FunctionName=self.name)
        assert len(listed["FunctionEventInvokeConfigs"]) == 1, listed
        self.client.delete_function_event_invoke_config(FunctionName=self.name)
        self.fails(
            "ResourceNotFoundException", 404, self.client.get_function_event_invoke_config, FunctionName=self.name
        )

    def url(self):
        made = self.client.create_function_url_config(
            FunctionName=self.name, AuthType="NONE", Cors={"AllowOrigins": ["*"]}
        )
        assert made["AuthType"] == "NONE" and made["FunctionUrl"].endswith("/"), made
        got = self.client.get_function_url_config(FunctionName=self.name)
        assert got["FunctionUrl"] == made["FunctionUrl"] and got["Cors"]["AllowOrigins"] == ["*"], got
        self.client.update_function_url_config(FunctionName=self.name, AuthType="AWS_IAM")
        listed = self.client.list_function_url_configs(FunctionName=self.name)["FunctionUrlConfigs"]
        assert [one["AuthType"] for one in listed] == ["AWS_IAM"], listed
        self.client.delete_function_url_config(FunctionName=self.name)
        self.fails("ResourceNotFoundException", 404, self.client.get_function_url_config, FunctionName=self.name)

    def tags_and_policy(self):
        self.client.tag_resource(Resource=self.arn, Tags={"stage": "test", "a b": "c"})
        assert self.client.list_tags(Resource=self.arn)["Tags"] == {"team": "clients", "stage": "test", "a b": "c"}
        self.client.untag_resource(Resource=self.arn, TagKeys=["team", "a b"])
        assert self.client.list_tags(Resource=self.arn)["Tags"] == {"stage": "test"}

        added = self.client.add_permission(
            FunctionName=self.name,
            StatementId="bucket",
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn="arn:aws:s3:::bucket",
        )
        assert json.loads(added["Statement"])["Resource"] == self.arn, added
        policy = json.loads(self.client.get_policy(FunctionName=self.name)["Policy"])
        assert [one["Sid"] for one in policy["Statement"]] == ["bucket"], policy
        self.client.remove_permission(FunctionName=self.name, StatementId="bucket")
        self.fails("ResourceNotFoundException", 404, self.client.get_policy, FunctionName=self.name)

    def account_and_code(self):
        settings = self.client.get_account_settings()
        assert settings["AccountUsage"]["FunctionCount"] >= 1, settings
        location = self.client.get_function(FunctionName=self.name)["Code"]["Location"]
        with urllib.request.urlopen(location, timeout=60) as answer:
            assert answer.read() == self.codes[0]

    def delete(self):
        self.client.delete_alias(FunctionName=self.name, Name="live")
        self.client.delete_function(FunctionName=self.name, Qualifier="1")
        self.fails("ResourceNotFoundException", 404, self.client.get_function, FunctionName=self.name, Qualifier="1")
        deleted = self.client.delete_function(FunctionName=self.name)
        assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204, deleted
        self.fails("ResourceNotFoundException", 404, self.client.get_function, FunctionName=self.name)
        self.fails("ResourceNotFoundException", 404, self.client.invoke, FunctionName=self.name)

    def run(self):
        steps = (
            self.create,
            self.invoke_each_way,
            self.update,
            self.versions_and_aliases,
            self.concurrency,
            self.lists,
            self.asynchronous_settings,
            self.url,
            self.tags_and_policy,
            self.account_and_code,
            self.delete,
        )
        try:
            for step in steps:
                began = time.monotonic()
                step()
                print(f"{step.__name__}: {time.monotonic() - began:.1f} s", flush=True)
        except BaseException:
            self.remove_what_is_left()
            raise

    def remove_what_is_left(self):
        try:
            self.client.delete_function(FunctionName=self.name)
        except Exception as error:  # the first failure is the one to show
            print(f"{self.name} is left behind: {error}", file=sys.stderr)


def main():
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    if len(sys.argv) == 4:
        codes = [zip_of_folder(folder) for folder in sys.argv[2:]]
    else:
        codes = [zip_of({"app.py": CODE.replace("RELEASE", str(release))}) for release in (1, 2)]
    Lifecycle(sys.argv[1], codes).run()


if __name__ == "__main__":
    main()
