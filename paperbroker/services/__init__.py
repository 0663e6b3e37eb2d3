"""What a task does: intake, matching, relaying, streaming, answering, telling how it is."""
