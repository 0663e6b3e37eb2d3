"""Image + stack.yaml → a Deployment that is ready; and its end.

Owns the stack's life on CloudFormation, how its template gets there, and what "ready" means; knows nothing of what
PaperBroker does, nor of faults.
"""

from kit.deploy.handover import delete_bucket
from kit.deploy.stack import deploy, find_buckets, find_stacks, tear_down

__all__ = ["delete_bucket", "deploy", "find_buckets", "find_stacks", "tear_down"]
