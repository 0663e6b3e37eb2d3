"""Open-loop clients of PaperBroker, in a process of their own, and the history that they leave.

In reading order: `plan` (what to send), `schedule` (when), `orders` (which operation), `wire` and `pool` (bytes and
connections), `retry` and `probes` (what an answer leads to), `engine` (the open loop), `subscribers` (the stream),
`history` (Parquet), `generator` (one process of it all), `runner` (the parent's hold on that process).
"""
