"""Lambda functions that end a run: stop what it started, and say why it did not pass. They use boto3 alone."""
