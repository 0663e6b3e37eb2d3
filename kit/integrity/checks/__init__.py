"""The checks, one family of invariants in each module."""
