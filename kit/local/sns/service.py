"""Ask for confirmations, and deliver e-mail and HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.local.keyring import Keyring
from kit.local.patching import Patches
from kit.local.sns import http_delivery, ministack, texts
from kit.local.sns.mailbox import Mailbox, compose

MAIL_FOLDER = "mail"
POST_S_MAX = 5.0
# Deliveries that wait for their endpoint or for a retry. Further ones are dropped, and the log says so.
DELIVERIES_MAX = 1_000
# AWS's tokens are valid for two days, and so is the link.
CONFIRM_S = 2 * 86_400

Subscription = dict[str, Any]

log = logging.getLogger(__name__)


class Sns:
    """The deliveries of SNS that MiniStack only logs. Use it from the event loop only."""

    def __init__(self, state_dir: Path, endpoint: str, keyring: Keyring) -> None:
        self._mailbox = Mailbox(state_dir / MAIL_FOLDER)
        self._endpoint = endpoint
        self._keyring = keyring
        self._patches = Patches()
        self._deliveries: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Patch MiniStack's SNS."""
        ministack.install(self._patches, self)

    async def stop(self) -> None:
        """Give up all deliveries, then put MiniStack's functions back."""
        for delivery in tuple(self._deliveries):
            delivery.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        self._patches.undo()

    def ask_to_confirm(self, topic_arn: str, subscription: Subscription, envelope: dict[str, Any]) -> None:
        """Send the token of a subscription that is not confirmed to its endpoint."""
        token = subscription["token"]
        url = self._link(topic_arn, Action="ConfirmSubscription", TopicArn=topic_arn, Token=token)
        request = texts.confirmation_request(envelope, token, url)
        to = subscription["endpoint"]
        if subscription["protocol"] == "email":
            text = texts.confirmation_mail(topic_arn, token, url)
            self._mailbox.send(compose(to, texts.CONFIRMATION_SUBJECT, text))
        elif subscription["protocol"] == "email-json":
            self._mailbox.send(compose(to, texts.CONFIRMATION_SUBJECT, request))
        else:
            self.post(subscription, request, "SubscriptionConfirmation", envelope)

    def notify_by_mail(self, topic_arn: str, subscription: Subscription, envelope: dict[str, Any]) -> None:
        """Write a message to the mailbox."""
        url = self._link(topic_arn, Action="Unsubscribe", SubscriptionArn=subscription["arn"])
        subject = envelope.get("Subject") or texts.NOTIFICATION_SUBJECT
        text = (
            texts.notification_mail(envelope["Message"], url)
            if subscription["protocol"] == "email"
            else json.dumps({**envelope, "UnsubscribeURL": url})
        )
        self._mailbox.send(compose(subscription["endpoint"], subject, text))

    def post(self, subscription: Subscription, body: str, kind: str, envelope: Mapping[str, Any]) -> None:
        """Begin to deliver a message to an HTTP endpoint."""
        if len(self._deliveries) >= DELIVERIES_MAX:
            log.warning("SNS message dropped", extra={"endpoint": subscription["endpoint"], "limit": DELIVERIES_MAX})
            return
        headers = {
            "content-type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": kind,
            "x-amz-sns-message-id": envelope["MessageId"],
            "x-amz-sns-topic-arn": envelope["TopicArn"],
        }
        if kind == "Notification":
            headers["x-amz-sns-subscription-arn"] = subscription["arn"]
            if subscription["attributes"].get("RawMessageDelivery") == "true":
                headers["x-amz-sns-rawdelivery"] = "true"
        delivery = asyncio.ensure_future(self._deliver(subscription["endpoint"], headers, body.encode()))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> None:
        async def post(headers: Mapping[str, str], body: bytes) -> int:
            return await asyncio.to_thread(_post, endpoint, headers, body)

        if not await http_delivery.deliver(post, headers, body, sleep=asyncio.sleep):
            log.warning("SNS message not delivered", extra={"endpoint": endpoint})

    def _link(self, topic_arn: str, **parameters: str) -> str:
        url = f"{self._endpoint}/?{urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)}"
        return self._keyring.link(url, service="sns", region=topic_arn.split(":")[3], expires_s=CONFIRM_S)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Take a redirection as the endpoint's answer, which is no success."""

    def redirect_request(self, *_: Any) -> None:
        return None


# Nothing that goes to this machine passes a proxy, whatever the environment says.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def _post(endpoint: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send one request and return the status. A user and a password in the URL become basic authentication."""
    parts = urllib.parse.urlsplit(endpoint)
    if parts.username is not None:
        user = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers = {**headers, "authorization": f"Basic {b64encode(user.encode()).decode()}"}
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    request = urllib.request.Request(parts.geturl(), data=body, headers=dict(headers), method="POST")
    try:
        with _opener.open(request, timeout=POST_S_MAX) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise http_delivery.Unreachable(f"{endpoint}: {error}") from error
