"""Patch MiniStack's SNS: e-mail takes no message before it is confirmed, and stacks subscribe as the API does."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from ministack.core.arn import parse_arn
from ministack.core.responses import request_scope
from ministack.services import sns

from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches, require
from kit.local.requests.problems import Refused
from kit.local.requests.templates import check_properties
from kit.local.sns.mailbox import is_address

TOPIC, SUBSCRIPTION = "AWS::SNS::Topic", "AWS::SNS::Subscription"
MAIL = frozenset({"email", "email-json"})
HTTP = frozenset({"http", "https"})
PENDING = "pending confirmation"
# What lists show in place of the ARN of a subscription that is not confirmed.
PENDING_LISTED = "PendingConfirmation"

Properties = dict[str, Any]
Topic = dict[str, Any]
Subscription = dict[str, Any]


class Deliveries(Protocol):
    """What sends messages and asks for confirmations."""

    def ask_to_confirm(self, topic_arn: str, subscription: Subscription, envelope: dict[str, Any]) -> None:
        """Send a subscription's token to its endpoint."""
        ...

    def notify_by_mail(self, topic_arn: str, subscription: Subscription, envelope: dict[str, Any]) -> None:
        """Send a message by e-mail."""
        ...

    def post(self, subscription: Subscription, body: str, kind: str, envelope: dict[str, Any]) -> None:
        """Send a message by HTTP."""
        ...


def install(patches: Patches, deliveries: Deliveries) -> None:
    """Patch subscriptions, their lists, deliveries, and the resources of stacks."""
    require(sns, "_topics", "_sub_arn_to_topic", "_build_envelope", "_matches_filter_policy", "_find_subscription")
    require(sns, "_resolve_message_for_protocol", "_topic_by_arn_any_scope", "_refresh_subscription_counts")
    seams = _Seams(deliveries)
    patches.wrap(sns, "_subscribe", seams.subscribe)
    patches.wrap(sns, "_fanout", seams.fan_out)
    # Both are asynchronous functions of MiniStack that our deliveries replace.
    patches.replace(sns, "_send_subscription_confirmation", _nothing)
    patches.replace(sns, "_deliver_to_http", _nothing)
    for name in ("_list_subscriptions", "_list_subscriptions_by_topic"):
        patches.wrap(sns, name, _hide_pending)
    for verb in ("create", "update"):
        patches.wrap_resource_handler(TOPIC, verb, functools.partial(seams.topic_of_stack, verb))
        patches.wrap_resource_handler(SUBSCRIPTION, verb, functools.partial(seams.subscription_of_stack, verb))


async def _nothing(*_: Any) -> None:
    """Send nothing."""


class _Seams:
    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def subscribe(self, subscribe: Callable[..., Any], params: Properties) -> Any:
        """Subscribe. The answer to one that has to confirm has no ARN."""
        protocol, endpoint = sns._p(params, "Protocol"), sns._p(params, "Endpoint")
        if problem := endpoint_problem(protocol, endpoint):
            return sns._error("InvalidParameter", f"Invalid parameter: {problem}", 400)
        answer = subscribe(params)
        topic = sns._topic_by_arn_any_scope(sns._p(params, "TopicArn"))
        found = next(
            (each for each in (topic or {}).get("subscriptions", ()) if _ends(each) == (protocol, endpoint)), None
        )
        if answer[0] != 200 or topic is None or found is None:
            return answer
        self._settle(topic, found)
        if found["confirmed"]:
            return answer
        result = f"<SubscribeResult><SubscriptionArn>{PENDING}</SubscriptionArn></SubscribeResult>"
        return sns._xml(200, "SubscribeResponse", result)

    def fan_out(
        self, fan_out: Callable[..., None], topic_arn: str, msg_id: str, message: str, subject: str,
        message_structure: str = "", message_attributes: Properties | None = None, *rest: Any, **named: Any,
    ) -> None:  # fmt: skip
        """Deliver a message: MiniStack to queues and functions, we to the others."""
        fan_out(topic_arn, msg_id, message, subject, message_structure, message_attributes, *rest, **named)
        attributes = message_attributes or {}
        for each in tuple((sns._topic_by_arn_any_scope(topic_arn) or {}).get("subscriptions", ())):
            protocol = each["protocol"]
            text = sns._resolve_message_for_protocol(message, message_structure, protocol)
            if protocol not in MAIL | HTTP or not each["confirmed"]:
                continue
            if sns._matches_filter_policy(each, attributes, text):
                envelope = _envelope(topic_arn, msg_id, text, subject, attributes)
                self._send(topic_arn, each, envelope)

    @property
    def _send(self) -> Callable[..., None]:
        # Alarms and event targets publish from threads of their own.
        return on_main_loop(self._send_here)

    def _send_here(self, topic_arn: str, subscription: Subscription, envelope: dict[str, Any]) -> None:
        if subscription["protocol"] in MAIL:
            self._deliveries.notify_by_mail(topic_arn, subscription, envelope)
            return
        is_raw = subscription["attributes"].get("RawMessageDelivery") == "true"
        body = envelope["Message"] if is_raw else json.dumps(envelope)
        self._deliveries.post(subscription, body, "Notification", envelope)

    def topic_of_stack(self, verb: str, provision: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Create or update a topic of a stack. Raises ValueError for a subscription that the API refuses."""
        for each in _properties(verb, arguments).get("Subscription") or ():
            _check_subscription({**each, "TopicArn": "arn:aws:sns:us-east-1:000000000000:topic"})
        made = provision(*arguments, **named)
        self._settle_all(made[0])
        return made

    def subscription_of_stack(self, verb: str, provision: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Create or update a subscription of a stack. Raises ValueError for what the API refuses."""
        props = _properties(verb, arguments)
        _check_subscription(props)
        topic_arn = props.get("TopicArn", "")
        if sns._topic_by_arn_any_scope(topic_arn) is None:
            raise ValueError(f"{SUBSCRIPTION}: Topic does not exist: {topic_arn}")
        made = provision(*arguments, **named)
        self._settle_all(topic_arn)
        return made

    def _settle_all(self, topic_arn: str) -> None:
        topic = sns._topic_by_arn_any_scope(topic_arn)
        for each in tuple((topic or {}).get("subscriptions", ())):
            self._settle(topic or {}, each)

    def _settle(self, topic: Topic, subscription: Subscription) -> None:
        """Complete a new subscription: its attributes, and the request to confirm it."""
        if "needs_confirmation" in subscription:
            if not subscription["confirmed"]:
                # Subscribing again asks again.
                self._ask(topic, subscription)
            return
        protocol = subscription["protocol"]
        needs = subscription["needs_confirmation"] = protocol in MAIL | HTTP
        pending = str(needs).lower()
        subscription["confirmed"] = not needs
        subscription["token"] = uuid.uuid4().hex * 2 if needs else None
        subscription["attributes"] = {
            "FilterPolicyScope": "MessageAttributes",
            "RawMessageDelivery": "false",
            **subscription["attributes"],
            "SubscriptionArn": subscription["arn"],
            "TopicArn": topic["arn"],
            "Protocol": protocol,
            "Endpoint": subscription["endpoint"],
            "Owner": subscription["owner"],
            "ConfirmationWasAuthenticated": str(not needs).lower(),
            "PendingConfirmation": pending,
        }
        sns._refresh_subscription_counts(topic)
        if needs:
            self._ask(topic, subscription)

    def _ask(self, topic: Topic, subscription: Subscription) -> None:
        envelope = _envelope(topic["arn"], str(uuid.uuid4()), "", "", {})
        on_main_loop(self._deliveries.ask_to_confirm)(topic["arn"], subscription, envelope)


def endpoint_problem(protocol: str, endpoint: str) -> str:
    """Return why SNS refuses an endpoint of this protocol, or ""."""
    if protocol in MAIL and not is_address(endpoint):
        return "Email address"
    if protocol in HTTP and not endpoint.startswith(f"{protocol}://"):
        return f"Endpoint must match the specified protocol {protocol}"
    return ""


def _check_subscription(props: Properties) -> None:
    try:
        check_properties(SUBSCRIPTION, props)
    except Refused as refused:
        raise ValueError(f"{SUBSCRIPTION}: {refused}") from refused
    if problem := endpoint_problem(props.get("Protocol", ""), props.get("Endpoint", "")):
        raise ValueError(f"{SUBSCRIPTION}: Invalid parameter: {problem}")


def _properties(verb: str, arguments: tuple[Any, ...]) -> Properties:
    """Return the new properties: create(logical id, properties, …), update(physical id, old, new, …)."""
    return arguments[1] if verb == "create" else arguments[2]


def _hide_pending(listing: Callable[..., Any], params: Properties) -> Any:
    """List subscriptions. Those that are not confirmed have no ARN yet."""
    status, headers, body = listing(params)
    text = body.decode()
    for topic in list(sns._topics.values()):
        for each in topic["subscriptions"]:
            if not each["confirmed"]:
                text = text.replace(_arn_element(each["arn"]), _arn_element(PENDING_LISTED))
    return status, headers, text.encode()


def _arn_element(value: str) -> str:
    return f"<SubscriptionArn>{value}</SubscriptionArn>"


def _ends(subscription: Subscription) -> tuple[str, str]:
    return subscription["protocol"], subscription["endpoint"]


def _envelope(topic_arn: str, msg_id: str, message: str, subject: str, attributes: Properties) -> dict[str, Any]:
    spec = parse_arn(topic_arn)
    with request_scope(spec.account_id, spec.region):
        return json.loads(sns._build_envelope(topic_arn, msg_id, message, subject, attributes, False))
