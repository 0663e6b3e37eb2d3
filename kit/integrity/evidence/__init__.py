"""The tables of one run as columns of numbers, and whether they are valid evidence."""
