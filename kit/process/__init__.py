"""Processes and the machine: children that end with their parent, CPU use, signals, terminal output, files."""
