"""DynamoDB and SQS access: requests, conditions, and the meaning of errors."""
