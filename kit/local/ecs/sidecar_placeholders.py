"""Containers that have a meaning on AWS only, and are there here without a process.

Owns which images those are. Must not know how tasks start.

The SSM agent registers its task with Systems Manager, which is how AWS FIS reaches into it. The local FIS reaches
tasks by itself, so the agent has nothing to do; a process that does nothing would cost memory for every task.
"""

# By the last part of the repository's name, whatever the registry or the mirror of it.
REPOSITORIES = frozenset({"amazon-ssm-agent"})


def is_placeholder(image: str) -> bool:
    """Whether a container of this image runs without a process."""
    repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return repository in REPOSITORIES
