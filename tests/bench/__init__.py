"""Benchmarks: they print what they measure and judge nothing. `python -m tests.bench [name …]`."""
