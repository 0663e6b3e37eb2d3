"""The tables of one run as numbered columns, and whether they are valid evidence."""
