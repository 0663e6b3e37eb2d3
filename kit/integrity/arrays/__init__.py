"""Columns of numbers from Parquet files: reading, hashing, grouping, JSON templates."""
