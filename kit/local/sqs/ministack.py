"""Patch MiniStack's SQS: calls from worker threads run on the main loop."""

from ministack.services import sqs

from kit.local.main_loop import on_main_loop
from kit.local.patching import Patches

# Lambda's queue pollers and Step Functions call these from threads of their own.
CALLED_FROM_THREADS = ("_receive_messages_for_esm", "_delete_messages_for_esm", "_act_send_message")


def install(patches: Patches) -> None:
    """Patch MiniStack's SQS."""
    for name in CALLED_FROM_THREADS:
        patches.decorate(sqs, name, on_main_loop)
