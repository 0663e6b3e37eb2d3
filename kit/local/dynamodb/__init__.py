"""DynamoDB under pressure: what MiniStack's tables lack of AWS's when they are pressed.

Capacity that runs out, transactions that meet, indexes and replicas that lag, and the metrics that tell. `service` is
the room's door. Reading order: `units`, `buckets`, `tables`, `capacity`, then `items`, `batches`, `transactions`.
"""

from kit.local.dynamodb.service import DynamoDb

__all__ = ["DynamoDb"]
