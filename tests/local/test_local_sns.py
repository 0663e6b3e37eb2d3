"""Subscriptions have to be confirmed, e-mail arrives as a file, HTTP deliveries are repeated."""

from __future__ import annotations

import asyncio
import email
import http.server
import json
import re
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kit.local.sns import http_delivery, mailbox, texts
from kit.local.sns.ministack import endpoint_problem
from tests.local.test_local_cloudformation_properties import create
from tests.polling import wait_until


@pytest.mark.parametrize(
    ("statuses", "delivered", "posts"),
    [
        ([200], True, 1),
        ([503, 500, 204], True, 3),
        ([None, 200], True, 2),
        ([429, 200], True, 2),
        ([404, 200], False, 1),
        ([302, 302, 302, 302, 200], False, 4),
        ([None, None, None, None, 200], False, 4),
    ],
)
def test_a_delivery_is_repeated_by_the_default_policy(statuses: list[int | None], delivered: bool, posts: int) -> None:
    """`None` means that the endpoint cannot be reached."""
    slept: list[float] = []
    sent = 0

    async def post(headers: Mapping[str, str], body: bytes) -> int:
        nonlocal sent
        status = statuses[sent]
        sent += 1
        if status is None:
            raise http_delivery.Unreachable("refused")
        return status

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    assert asyncio.run(http_delivery.deliver(post, {}, b"m", sleep=sleep)) is delivered
    assert (sent, slept) == (posts, [20.0] * (posts - 1))


def test_the_mailbox_keeps_the_newest_mails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAILS_KEPT_MAX", 2)
    box = mailbox.Mailbox(tmp_path / "mail")
    for number in range(3):
        box.send(mailbox.compose("on-call@example.com", f"no {number}\nBcc: x@example.com", "text"))
    names = sorted(file.name for file in (tmp_path / "mail").iterdir())
    assert names == ["00000002-on-call@example.com.eml", "00000003-on-call@example.com.eml"]
    mail = read(tmp_path / "mail" / names[1])
    assert (mail["Subject"], mail["Bcc"]) == ("no 2 Bcc: x@example.com", None)


@pytest.mark.parametrize(
    ("protocol", "endpoint", "problem"),
    [
        ("email", "on-call@example.com", ""),
        ("email", "on-call", "Email address"),
        ("email-json", "a@b", "Email address"),
        ("email", "../a@example.com/..", "Email address"),
        ("http", "https://example.com", "Endpoint must match the specified protocol http"),
        ("https", "https://example.com", ""),
        ("sqs", "anything", ""),
    ],
)
def test_endpoints_are_checked_by_protocol(protocol: str, endpoint: str, problem: str) -> None:
    assert endpoint_problem(protocol, endpoint) == problem


def test_a_request_to_confirm_has_the_token_and_no_link_to_unsubscribe() -> None:
    envelope = {"MessageId": "m", "TopicArn": "arn:t", "UnsubscribeURL": "u", "Message": ""}
    request = json.loads(texts.confirmation_request(envelope, "token", "http://confirm"))
    assert (request["Token"], request["SubscribeURL"]) == ("token", "http://confirm")
    assert request["Type"] == "SubscriptionConfirmation" and "UnsubscribeURL" not in request


def read(file: Path) -> Any:
    return email.message_from_bytes(file.read_bytes(), policy=default)


def mails(cloud: Any, to: str) -> list[Any]:
    """Return the mails of this cloud to an address, oldest first."""
    return [read(file) for file in sorted((cloud.state_dir / "mail").glob(f"*-{to}.eml"))]


def test_an_email_subscription_gets_nothing_before_it_is_confirmed(cloud: Any) -> None:
    """The mail that asks for it holds the token, which ConfirmSubscription takes."""
    sns, to = cloud.client("sns"), "pending@example.com"
    topic = sns.create_topic(Name="by-mail")["TopicArn"]
    subscribed = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=to)["SubscriptionArn"]
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscribed, [each["SubscriptionArn"] for each in listed]) == (
        "pending confirmation",
        ["PendingConfirmation"],
    )
    sns.publish(TopicArn=topic, Subject="early", Message="nobody reads this")
    (asked,) = mails(cloud, to)
    token = re.search(r"with this token:\s+(\w+)", asked.get_content())
    assert token is not None, asked.get_content()
    with pytest.raises(ClientError):
        sns.confirm_subscription(TopicArn=topic, Token="guessed")
    arn = sns.confirm_subscription(TopicArn=topic, Token=token[1])["SubscriptionArn"]
    sns.publish(TopicArn=topic, Subject="FAIL: az-loss", Message="double fills: 3")
    notified = mails(cloud, to)[1:]
    assert [mail["Subject"] for mail in notified] == ["FAIL: az-loss"]
    assert notified[0].get_content().startswith("double fills: 3\n")
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (attributes["PendingConfirmation"], attributes["Endpoint"]) == ("false", to)


def test_the_link_in_a_mail_confirms_as_well(cloud: Any) -> None:
    """It is presigned: a browser or curl needs no credentials."""
    sns, to = cloud.client("sns"), "link@example.com"
    topic = sns.create_topic(Name="by-link")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email-json", Endpoint=to)
    request = json.loads(mails(cloud, to)[0].get_content())
    with urllib.request.urlopen(request["SubscribeURL"], timeout=5) as answer:
        assert b"ConfirmSubscriptionResult" in answer.read()
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1"


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], dict[str, Any]]]]]:
    """An HTTP endpoint, and the headers and bodies that it has received."""
    received: list[tuple[dict[str, str], dict[str, Any]]] = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", received
        server.shutdown()
        thread.join()


def test_an_http_subscriber_confirms_by_the_link_and_gets_messages(cloud: Any, receiver: Any) -> None:
    sns, (url, received) = cloud.client("sns"), receiver
    topic = sns.create_topic(Name="by-http")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=url)
    wait_until(lambda: bool(received), "the request to confirm has arrived")
    headers, request = received[0]
    assert headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    urllib.request.urlopen(request["SubscribeURL"], timeout=5).close()
    sns.publish(TopicArn=topic, Message="hello")
    wait_until(lambda: len(received) == 2, "the message has arrived")
    headers, message = received[1]
    assert (headers["x-amz-sns-message-type"], message["Message"]) == ("Notification", "hello")


def test_subscriptions_of_a_stack_follow_the_rules_of_the_api(cloud: Any) -> None:
    """One that asks to confirm is pending; what is not served, or has no topic, fails the stack."""
    topic = {"Type": "AWS::SNS::Topic", "Properties": {
        "TopicName": "of-stack", "Subscription": [{"Protocol": "email", "Endpoint": "stack@example.com"}],
    }}  # fmt: skip
    _, reasons = create(cloud, "sns-of-stack", {"Topic": topic})
    assert reasons == []
    assert [mail["Subject"] for mail in mails(cloud, "stack@example.com")] == [texts.CONFIRMATION_SUBJECT]
    sms = {"Protocol": "sms", "Endpoint": "+3161234"}
    _, reasons = create(cloud, "sns-sms", {"Topic": {**topic, "Properties": {"Subscription": [sms]}}})
    assert any("'sms' is not served here" in reason for reason in reasons), reasons
    gone = {"TopicArn": "arn:aws:sns:us-east-1:000000000000:gone", "Protocol": "email", "Endpoint": "a@example.com"}
    _, reasons = create(cloud, "sns-gone", {"S": {"Type": "AWS::SNS::Subscription", "Properties": gone}})
    assert any("Topic does not exist" in reason for reason in reasons), reasons
