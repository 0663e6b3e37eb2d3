"""Word the messages in which SNS asks for a confirmation, and its e-mails."""

from __future__ import annotations

import json
from typing import Any

CONFIRMATION_SUBJECT = "AWS Notification - Subscription Confirmation"
NOTIFICATION_SUBJECT = "AWS Notification Message"


def confirmation_mail(topic_arn: str, token: str, confirm_url: str) -> str:
    """Return the text of the e-mail that asks to confirm a subscription. On AWS it has the link only."""
    return (
        f"You have chosen to subscribe to the topic:\n{topic_arn}\n\n"
        "To confirm this subscription, visit the link below (if this was in error no action is necessary):\n"
        f"{confirm_url}\n\nOr call ConfirmSubscription with this token:\n{token}\n"
    )


def notification_mail(message: str, unsubscribe_url: str) -> str:
    """Return the text of the e-mail that carries a message."""
    return (
        f"{message}\n\n--\n"
        "If you wish to stop receiving notifications from this topic, please visit the link below to unsubscribe:\n"
        f"{unsubscribe_url}\n"
    )


def confirmation_request(envelope: dict[str, Any], token: str, confirm_url: str) -> str:
    """Return the body of the HTTP request, or of the e-mail of `email-json`, that asks to confirm a subscription."""
    topic_arn = envelope["TopicArn"]
    wanted = {
        **envelope,
        "Type": "SubscriptionConfirmation",
        "Token": token,
        "Message": f"You have chosen to subscribe to the topic {topic_arn}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message.",
        "SubscribeURL": confirm_url,
    }
    wanted.pop("UnsubscribeURL", None)
    return json.dumps(wanted)
