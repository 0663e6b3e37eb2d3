"""Let AWS Step Functions conduct a game day: the state machine, its stack, its Lambda function and its tasks."""
