"""Create the CloudFormation stack of a run, wait until it serves, and delete it."""

from kit.deploy.existing_stack import stack_of
from kit.deploy.stack import STACK_PREFIX, create_stack, deploy, find_buckets, find_stacks, tear_down
from kit.deploy.template_upload import delete_bucket

__all__ = [
    "STACK_PREFIX",
    "create_stack",
    "delete_bucket",
    "deploy",
    "find_buckets",
    "find_stacks",
    "stack_of",
    "tear_down",
]
