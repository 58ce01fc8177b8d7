"""One real call to the AWS emulator, answered with one line and an exit code.

Usage: aws_call.py [--as exec|stdin|nobody|root:ACCOUNT] list BUCKET | get BUCKET KEY | role NAME

`exec` takes credentials from the environment, `stdin` takes what a credential_process prints,
`nobody` does not sign, and `root` is the emulator's public root of an account.
Exit code 0: allowed. 10: refused by AWS, or not there. Everything else is a failure of the call.
"""

import json
import sys

import botocore
import botocore.config
import botocore.exceptions
import botocore.session


def client(service, who):
    session = botocore.session.get_session()
    options = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}}
    if who == "nobody":
        options["signature_version"] = botocore.UNSIGNED
    elif who == "stdin":
        given = json.load(sys.stdin)
        session.set_credentials(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
        )
    elif who.startswith("root:"):
        session.set_credentials(who.removeprefix("root:"), "test")
    config = botocore.config.Config(**options)
    return session.create_client(service, region_name="us-east-1", config=config)


def call(who, verb, *names):
    if verb == "list":
        answer = client("s3", who).list_objects_v2(Bucket=names[0])
        return "\n".join(item["Key"] for item in answer.get("Contents", []))
    if verb == "get":
        answer = client("s3", who).get_object(Bucket=names[0], Key=names[1])
        return answer["Body"].read().decode().rstrip()
    if verb == "role":
        return client("iam", who).get_role(RoleName=names[0])["Role"]["Arn"]
    raise SystemExit(f"unknown verb {verb!r}")


def main(arguments):
    who = "exec"
    if arguments[:1] == ["--as"]:
        who, arguments = arguments[1], arguments[2:]
    try:
        print(call(who, *arguments))
    except botocore.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        print(f"{status} {error.response['Error']['Code']}")
        raise SystemExit(10)


main(sys.argv[1:])
