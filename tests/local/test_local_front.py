"""The front of the local AWS: web pages, other programs and other users of this machine get nothing done."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.exceptions import ClientError

from kit import aws
from kit.local import sigv4
from kit.local.asgi import BODY_BYTES_MAX
from tests.local.signing import signed_headers

WAIT_S = 5.0
JSON = "application/x-amz-json-1.0"
FORM = "application/x-www-form-urlencoded"
CLIENT = Path(__file__).with_name("programs") / "unsigned_client.py"


def send(
    cloud: Any, method: str, path: str = "/", body: str | bytes = b"", headers: Mapping[str, str] | None = None
) -> SimpleNamespace:
    """Send one request as any program can; an empty header of `headers` is left out."""
    connection = http.client.HTTPConnection(urlsplit(cloud.endpoint).netloc, timeout=WAIT_S)
    given = dict(headers or {})
    connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
    body = body.encode() if isinstance(body, str) else body
    for name, value in {"Content-Length": str(len(body)), **given}.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return SimpleNamespace(status=answer.status, headers={k.lower(): v for k, v in answer.getheaders()}, body=read)


def create_queue(name: str) -> tuple[str, dict[str, str]]:
    """Return body and headers of a call that has a visible effect."""
    return json.dumps({"QueueName": name}), {"X-Amz-Target": "AmazonSQS.CreateQueue", "Content-Type": JSON}


@pytest.fixture
def effect(cloud) -> Callable[[], bool]:
    """A queue's name is in `effect.name`; calling it tells whether somebody created the queue."""
    name = f"front-{uuid.uuid4().hex[:8]}"

    def happened() -> bool:
        return bool(cloud.client("sqs").list_queues(QueueNamePrefix=name).get("QueueUrls"))

    happened.name = name  # type: ignore[attr-defined]
    return happened


def signed_call(cloud: Any, effect: Any, **headers: str) -> tuple[str, dict[str, str]]:
    """Return a call that is signed as it must be, and carries `headers` besides."""
    body, named = create_queue(effect.name)
    return body, {**signed_headers(cloud, "sqs", body=body, headers=named), **headers}


def test_a_signed_call_is_served(cloud, effect):
    body, headers = signed_call(cloud, effect)
    assert send(cloud, "POST", "/", body, headers).status == 200
    assert effect()


FOREIGN = {
    "a page of another site": {"Origin": "https://evil.example"},
    "a page on another port": {"Origin": "http://127.0.0.1:8000"},
    "a sandboxed page or a file": {"Origin": "null"},
    "an extension": {"Origin": "chrome-extension://abc"},
    "https instead of http": {"Origin": "https://127.0.0.1"},
    "another site's fetch": {"Sec-Fetch-Site": "cross-site"},
    "a page of the same host on another port": {"Sec-Fetch-Site": "same-site"},
    "an unknown relation": {"Sec-Fetch-Site": "future-site"},
    "DNS rebinding": {"Host": "evil.example"},
    "DNS rebinding with our port": {"Host": "evil.example:PORT"},
    "a name that ends as ours": {"Host": "evil-localhost:PORT"},
    "a name that begins as ours": {"Host": "127.0.0.1.evil.example:PORT"},
    "our address without the port": {"Host": "127.0.0.1"},
    "our address with another port": {"Host": "127.0.0.1:1"},
    "another address of loopback": {"Host": "127.0.0.2:PORT"},
    "an address of this machine": {"Host": "0.0.0.0:PORT"},
    "a user before the host": {"Host": "127.0.0.1@evil.example:PORT"},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_even_a_signed_call_of_a_foreign_page_is_refused(cloud, effect, kind):
    port = cloud.endpoint.rpartition(":")[2]
    foreign = {name: value.replace("PORT", port) for name, value in FOREIGN[kind].items()}
    body, headers = signed_call(cloud, effect, **foreign)
    refused = send(cloud, "POST", "/", body, headers)
    assert (refused.status, json.loads(refused.body)["__type"]) == (403, "AccessDenied")
    assert not effect()


def test_no_host_and_two_hosts_are_refused(cloud):
    host = urlsplit(cloud.endpoint).netloc
    for lines in ("", f"Host: {host}\r\nHost: evil.example\r\n"):
        with socket.create_connection(tuple(host.split(":")), WAIT_S) as raw:  # type: ignore[arg-type]
            raw.sendall(f"GET /_ministack/health HTTP/1.0\r\n{lines}\r\n".encode())
            assert b" 403 " in raw.recv(100)


UNSIGNED = {
    "JSON": ("POST", "/", *create_queue("NAME")),
    "a form": ("POST", "/", urlencode({"Action": "CreateQueue", "QueueName": "NAME"}), {"Content-Type": FORM}),
    "a query": ("GET", "/?Action=CreateQueue&QueueName=NAME", "", {}),
    "a simple fetch": ("POST", "/", create_queue("NAME")[0], {"Content-Type": "text/plain"}),
    "an empty signature": ("POST", "/", create_queue("NAME")[0], {**create_queue("")[1], "Authorization": "AWS4"}),
    "a key without a signature": (
        "POST", "/", create_queue("NAME")[0],
        {**create_queue("")[1], "Authorization": (
            "AWS4-HMAC-SHA256 Credential=gameday/20261130/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"
        )},
    ),
    "signature version 2": ("GET", "/?Action=CreateQueue&QueueName=NAME&AWSAccessKeyId=gameday&Signature=x", "", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNSIGNED)
def test_a_call_that_is_not_signed_is_refused(cloud, effect, kind):
    method, path, body, headers = UNSIGNED[kind]
    refused = send(cloud, method, path.replace("NAME", effect.name), body.replace("NAME", effect.name), headers)
    assert refused.status == 403 and b"Queue" not in refused.body
    assert not effect()


@pytest.mark.parametrize("action", ["CreateStack", "RegisterTaskDefinition", "CreateFunction"])
def test_a_form_without_an_origin_runs_no_program(cloud, action):
    """Old browsers send a form's navigation without Origin."""
    form = urlencode({"Action": action, "StackName": "evil", "TemplateBody": '{"Resources": {}}'})
    refused = send(cloud, "POST", "/", form, {"Content-Type": FORM})
    assert refused.status == 403 and b"<Code>MissingAuthenticationToken</Code>" in refused.body
    names = [stack["StackName"] for stack in cloud.client("cloudformation").list_stacks()["StackSummaries"]]
    assert "evil" not in names


@pytest.mark.parametrize("path", [
    "/_ministack/reset", "/_ministack/config", "/_ministack/ready", "/_localstack/health", "/_ministack/sqs/messages",
    "/_ministack%2freset", "/_ministack/rds/iam-auth", "/_ministack/eks-auth/0/a/b/c", "/_ministack/health/..",
])  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_emulators_own_paths_are_closed_also_for_the_operator(cloud, path, method):
    headers = signed_headers(cloud, "s3", method=method, path=path)
    refused = send(cloud, method, path, headers=headers)
    assert refused.status == 403, refused.body


def test_only_health_is_open_and_only_for_reading(cloud):
    assert send(cloud, "GET", "/_ministack/health").status == 200
    assert send(cloud, "POST", "/_ministack/health").status == 403
    assert send(cloud, "GET", "/_ministack/health", headers={"Origin": "null"}).status == 403
    assert send(cloud, "GET", "/latest/meta-data/iam/security-credentials/").status == 403


def test_a_preflight_is_refused_and_no_answer_has_cors_headers(cloud, effect):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    body, headers = signed_call(cloud, effect)
    answers = [
        send(cloud, "OPTIONS", "/", headers=asked),
        send(cloud, "OPTIONS", "/", headers={"Access-Control-Request-Method": "POST"}),
        send(cloud, "POST", "/", body, headers),
        send(cloud, "GET", "/_ministack/health"),
        send(cloud, "GET", "/nothing"),
    ]
    assert [answer.status for answer in answers] == [403, 403, 200, 200, 403]
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


def test_a_websocket_of_a_page_is_refused(cloud):
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
    }  # fmt: skip
    assert send(cloud, "GET", "/", headers={**upgrade, "Origin": "http://127.0.0.1:8000"}).status == 403
    assert send(cloud, "GET", "/", headers=upgrade).status == 403


SERVICES = {
    "ecs": "list_clusters", "s3": "list_buckets", "cloudwatch": "list_metrics", "lambda": "list_functions",
    "ec2": "describe_vpcs", "route53": "list_hosted_zones", "sts": "get_caller_identity", "fis": "list_experiments",
}  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_sdks_show_why_a_call_was_refused(cloud, start_cloud, service):
    """Every protocol has its own shape of errors. The other cloud's key is unknown here, and so is its secret."""
    wrong = aws.local_session(cloud.endpoint, "us-east-1", aws.Credentials(
        access_key=cloud.credentials.access_key, secret_key="guessed"))  # fmt: skip
    other = aws.local_session(cloud.endpoint, "us-east-1", other_clouds_credentials(start_cloud))
    for session, code in ((wrong, "SignatureDoesNotMatch"), (other, "InvalidClientTokenId")):
        with pytest.raises(ClientError) as caught:
            getattr(session.client(service), SERVICES[service])()
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


_other: list[Any] = []


def other_clouds_credentials(start_cloud: Callable[..., Any]) -> aws.Credentials:
    """Return the credentials of a second cloud, which is started once."""
    if not _other:
        _other.append(start_cloud(region="eu-west-1", seed=9))
    return _other[0].credentials


def test_another_clouds_secret_does_not_open_this_one(cloud, start_cloud):
    """Nor does it under this cloud's access key, or under an account's number."""
    foreign = other_clouds_credentials(start_cloud)
    assert foreign.secret_key != cloud.credentials.secret_key
    for access_key in (cloud.credentials.access_key, "000000000000", foreign.access_key):
        session = aws.local_session(
            cloud.endpoint, "us-east-1", aws.Credentials(access_key=access_key, secret_key=foreign.secret_key)
        )
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|InvalidClientTokenId"):
            session.client("ecs").list_clusters()


def test_a_replayed_call_with_another_body_is_refused(cloud, effect):
    body, headers = signed_call(cloud, effect)
    refused = send(cloud, "POST", "/", body.replace("front-", "moved-"), headers)
    assert (refused.status, json.loads(refused.body)["__type"]) == (403, "SignatureDoesNotMatch")


def test_an_object_with_another_content_than_was_signed_is_refused(cloud):
    """S3 signs the content's hash in a header, so the front knows the caller before it reads the content."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="front-content")
    headers = signed_headers(cloud, "s3", method="PUT", path="/front-content/key", body=b"signed")
    assert b"XAmzContentSHA256Mismatch" in send(cloud, "PUT", "/front-content/key", b"forged", headers).body
    assert send(cloud, "PUT", "/front-content/key", b"signed", headers).status == 200
    assert s3.get_object(Bucket="front-content", Key="key")["Body"].read() == b"signed"


def test_a_presigned_link_opens_its_object_and_nothing_else(cloud):
    s3 = cloud.client("s3", signature_version="s3v4")
    s3.create_bucket(Bucket="front-links")
    s3.put_object(Bucket="front-links", Key="a b/ü?.txt", Body=b"content")
    asked = {"Bucket": "front-links", "Key": "a b/ü?.txt"}
    link = s3.generate_presigned_url("get_object", Params=asked).removeprefix(cloud.endpoint)
    assert send(cloud, "GET", link).body == b"content"
    assert send(cloud, "PUT", link, b"other").status == 403
    assert send(cloud, "GET", link.replace("front-links", "front-content")).status == 403
    assert send(cloud, "GET", link, headers={"Sec-Fetch-Site": "cross-site"}).status == 403


def test_a_presigned_link_that_has_expired_is_refused(cloud):
    def link(signed_at: datetime) -> str:
        return sigv4.presign(
            f"{cloud.endpoint}/", method="GET", access_key=cloud.credentials.access_key, expires_s=60,
            secret=cloud.credentials.secret_key, region="us-east-1", service="s3", now=signed_at,
        ).removeprefix(cloud.endpoint)  # fmt: skip

    now = datetime.now(UTC)
    assert send(cloud, "GET", link(now - timedelta(seconds=50))).status == 200
    expired = send(cloud, "GET", link(now - timedelta(seconds=65)))
    assert (expired.status, b"Request has expired" in expired.body) == (403, True)


def test_the_registry_opens_with_its_password_only(cloud):
    """`docker login` takes the password from GetAuthorizationToken. It opens no other service."""
    data = cloud.client("ecr").get_authorization_token()["authorizationData"][0]
    assert data["proxyEndpoint"] == cloud.endpoint
    right = {"Authorization": f"Basic {data['authorizationToken']}"}
    wrong = {"Authorization": "Basic " + base64.b64encode(b"AWS:ministack-auth-token").decode()}
    asked = send(cloud, "GET", "/v2/")
    assert (asked.status, asked.headers["www-authenticate"][:5]) == (401, "Basic")
    assert [send(cloud, "GET", "/v2/", headers=each).status for each in (right, wrong)] == [200, 403]
    assert send(cloud, "GET", "/v2/", headers={**right, "Origin": "null"}).status == 403
    assert send(cloud, "GET", "/front-links", headers=right).status == 403
    assert send(cloud, "GET", "/v2/apis", headers=right).status == 403


def test_a_session_that_the_cloud_has_issued_is_accepted(cloud):
    """A key that looks like one, but was not issued, is refused."""
    asked = {"RoleArn": "arn:aws:iam::000000000000:role/r", "RoleSessionName": "front"}
    issued = cloud.client("sts").assume_role(**asked)["Credentials"]
    credentials = aws.Credentials(access_key=issued["AccessKeyId"], secret_key=issued["SecretAccessKey"])
    aws.local_session(cloud.endpoint, "us-east-1", credentials).client("sqs").list_queues()
    invented = aws.Credentials(access_key=f"{issued['AccessKeyId'][:-4]}AAAA", secret_key=issued["SecretAccessKey"])
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        aws.local_session(cloud.endpoint, "us-east-1", invented).client("sqs").list_queues()


def test_a_body_over_the_limit_is_refused(cloud):
    """It is refused before it is read."""
    refused = send(cloud, "PUT", "/b/k", headers={"Content-Length": str(BODY_BYTES_MAX + 1)})
    assert refused.status == 413


# ---- other users of this machine ----


def test_the_secret_is_readable_by_its_user_only(cloud):
    assert (cloud.state_dir / "cloud.json").stat().st_mode & 0o777 == 0o600
    assert cloud.credentials.secret_key not in repr(cloud)


def test_no_command_line_shows_a_secret(cloud):
    """Everybody can read the command lines of all processes."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            assert cloud.credentials.secret_key.encode() not in words


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a program as another user")
def test_another_user_of_this_machine_can_neither_call_nor_read_the_secret(cloud):
    nobody = pwd.getpwnam("nobody")
    # The interpreter of these tests may be in a home that other users cannot enter.
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    done = subprocess.run(
        [python, "-I", "-S", "-c", CLIENT.read_text(), cloud.endpoint, str(cloud.state_dir / "cloud.json")],
        user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/", env={"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [nobody.pw_uid, 403, 403, "hidden"]
