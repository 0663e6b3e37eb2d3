"""DynamoDB and SQS as PaperBroker uses them: requests, their conditions, and what their errors mean."""
