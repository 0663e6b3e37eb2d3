"""Create the CloudFormation stack of a run, wait until it serves, and delete it."""

from kit.deploy.stack import deploy, find_buckets, find_stacks, tear_down
from kit.deploy.template_upload import delete_bucket

__all__ = ["delete_bucket", "deploy", "find_buckets", "find_stacks", "tear_down"]
