"""Run the states of an execution."""
