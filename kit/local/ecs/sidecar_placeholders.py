"""Recognise sidecar containers that run without a process.

The SSM agent registers its task with Systems Manager, through which AWS FIS reaches the task. The local FIS reaches
tasks directly, so the agent has nothing to do, and a process that does nothing would cost memory for every task.
"""

# The last part of the repository's name, in any registry or mirror.
REPOSITORIES = frozenset({"amazon-ssm-agent"})


def is_placeholder(image: str) -> bool:
    """Return whether a container of this image runs without a process."""
    repository = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return repository in REPOSITORIES
