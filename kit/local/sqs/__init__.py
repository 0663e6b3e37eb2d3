"""SQS of the local AWS: MiniStack's, with its races removed and AWS's less usual answers on demand."""

from kit.local.sqs.service import Sqs

__all__ = ["Sqs"]
