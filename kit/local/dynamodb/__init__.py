"""DynamoDB of the local AWS: limited capacity, transaction conflicts, lagging indexes and replicas, and metrics.

MiniStack stores the items. Reading order: `units`, `token_bucket`, `tables`, `capacity`, then `items`, `batches`,
`transactions`, and `ministack`, which puts them in front of MiniStack's functions.
"""

from kit.local.dynamodb.service import DynamoDb

__all__ = ["DynamoDb"]
