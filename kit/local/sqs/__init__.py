"""SQS of the local AWS: MiniStack's, with its races removed."""
