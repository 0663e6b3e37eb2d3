"""Test sessions: their endpoints, time-outs, and the accounts that they refuse."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from botocore.exceptions import BotoCoreError

from kit import aws
from kit.aws.session import ATTEMPTS_MAX
from kit.errors import CloudError, UnsafeTarget, UsageError

KEY = aws.Credentials(access_key="AKIATEST", secret_key="secret")
IDENTITY = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/u</Arn><UserId>U</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


@pytest.fixture
def no_aws(monkeypatch):
    """Hide the AWS configuration of this machine."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GAMEDAY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def sts(no_aws, monkeypatch):
    """A fake STS of account 123456789012."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(IDENTITY)))
            self.end_headers()
            self.wfile.write(IDENTITY)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    import boto3

    real = boto3.Session.client

    def client(self, name, **arguments):
        return real(self, name, endpoint_url=f"http://127.0.0.1:{server.server_port}", **arguments)

    monkeypatch.setattr(boto3.Session, "client", client)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S")
    yield
    server.shutdown()
    server.server_close()


def test_an_allowed_account_is_accepted(sts, monkeypatch):
    monkeypatch.setenv(aws.ACCOUNTS_VARIABLE, "999999999999, 123456789012")
    assert aws.session(target="aws", region="us-east-1").account_id == "123456789012"


def test_an_account_off_the_list_is_refused(sts, monkeypatch):
    monkeypatch.setenv(aws.ACCOUNTS_VARIABLE, "999999999999")
    with pytest.raises(UnsafeTarget, match="account 123456789012 is not on the allow-list"):
        aws.session(target="aws", region="us-east-1")


def test_without_a_list_every_account_is_refused(no_aws):
    """The refusal comes before any call."""
    with pytest.raises(UnsafeTarget, match="no account is allowed"):
        aws.session(target="aws", region="us-east-1")


def test_a_list_with_an_invalid_account_is_refused(no_aws, monkeypatch):
    monkeypatch.setenv(aws.ACCOUNTS_VARIABLE, "prod")
    with pytest.raises(UsageError, match="prod is not a 12-digit account id"):
        aws.session(target="aws", region="us-east-1")


def test_aws_with_a_redirected_endpoint_is_refused(no_aws, monkeypatch):
    """Otherwise the report would name AWS although another system was judged."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match="unset AWS_ENDPOINT_URL"):
        aws.session(target="aws", region="us-east-1")


def test_missing_credentials_are_a_cloud_error(no_aws, monkeypatch):
    monkeypatch.setenv(aws.ACCOUNTS_VARIABLE, "123456789012")
    with pytest.raises(CloudError, match="credentials do not work"):
        aws.session(target="aws", region="us-east-1")


@pytest.mark.parametrize("endpoint", ["", "http://example.com", "https://dynamodb.us-east-1.amazonaws.com"])
def test_a_local_endpoint_must_be_on_this_machine(no_aws, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(CloudError, match=r"is not on 127\.0\.0\.1"):
        aws.session(target="local", region="us-east-1")


def test_a_local_endpoint_needs_the_credentials_of_its_cloud(no_aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    with pytest.raises(CloudError, match=r"AWS_SECRET_ACCESS_KEY are not set; eval .*gameday cloud env"):
        aws.session(target="local", region="us-east-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    session = aws.session(target="local", region="us-east-1")
    assert session.credentials == aws.Credentials(access_key="AKIATEST", secret_key="secret")
    assert session.environment()["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert "secret" not in repr(session).replace("secret_key", "")


def test_an_unknown_target_is_refused(no_aws):
    with pytest.raises(UsageError, match="target='moon'"):
        aws.session(target="moon", region="us-east-1")


def test_a_local_session_ignores_the_users_configuration(monkeypatch, tmp_path):
    """A missing profile, a proxy and an endpoint of a single service have no effect."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")
    session = aws.local_session("http://127.0.0.1:9", "eu-west-1", KEY)
    assert session.client("sqs").meta.endpoint_url == "http://127.0.0.1:9"
    assert session.client("sqs").meta.region_name == "eu-west-1"
    assert session.client("sqs") is session.client("sqs")


def test_calls_to_a_closed_port_fail_within_seconds(no_aws, monkeypatch):
    """Retries are bounded, in number and in the time between them."""
    slept: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=slept.append))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(BotoCoreError):
        aws.local_session(f"http://127.0.0.1:{port}", "us-east-1", KEY).client("sts").get_caller_identity()
    assert len(slept) == ATTEMPTS_MAX - 1
    assert time.monotonic() - begun + sum(slept) < 15


def test_threads_share_one_client(no_aws):
    session = aws.local_session("http://127.0.0.1:9", "us-east-1", KEY)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(session.client("sqs"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_importing_the_kit_does_not_load_boto3():
    """`gameday list` and usage errors must be fast."""
    code = "import sys, kit.aws; sys.exit('boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
