"""Open-loop clients of PaperBroker, in a process of their own, and the history that they leave.

In reading order: `plan` (what to send), `schedule` (when), `orders` (which operation), `attempt` (what is known of it),
`retry` and `probes` (what an answer leads to), `wire` and `pool` (bytes and connections), `pace` and `engine` (the open
loop), `counts`, `subscribers` (the stream), `files`, `scribe` and `parts` (the history is written), `generator` (one
process of it all), `runner` (the parent's hold on that process), `history` (read back).
"""
