"""Fuzz the parsers that read what others wrote: `python -m tests.fuzz [TARGET] [--seconds 60] [--seed N]`.

One module in `targets` is one target. `runner` tries its cases, shrinks what fails and returns the smallest input.
"""
