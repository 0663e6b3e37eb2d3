"""The integrity checks: one invariant family per module."""
