"""Child processes that end with their parent, and what the machine was busy with."""
