"""CloudWatch Logs of the local AWS: MiniStack's, which refuses what it cannot evaluate."""
