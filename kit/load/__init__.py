"""Send open-loop load to PaperBroker from a process of its own, and record the history of what clients saw.

`plan` defines the load, `orders` generates each operation with names from `identifiers`, `schedule` and `pacer` decide
when it is sent. `engine` sends it through `requests` and `pool`, classifies the answer by `retry`, and follows it up by
`resubmissions` and `follow_ups`. `subscribers` listen to the event streams, as `subscriber_habits` says.
`history_writer` and `writer_process` write the history, which `read_history` reads back. `generator` runs all of this
in one process, and `LoadRun` controls that process from outside. `past` chooses what was sent before the load.
`shards` splits one plan among several generators, whose histories `merged_history` merges exactly. `fleet` runs them as
Fargate tasks (`task`), which get their load and leave their histories in S3 (`ordered_load`, `artifacts`).
"""

from kit.load.history import History, read_history
from kit.load.past import past_operations
from kit.load.plan import LoadPlan
from kit.load.runner import LoadRun
from kit.load.shards import Shard

__all__ = ["History", "LoadPlan", "LoadRun", "Shard", "past_operations", "read_history"]
