"""Columns of numbers: reading, hashing, grouping, JSON templates."""
