"""The `gameday` command: one module per command; `main` parses the arguments."""
