"""From findings to one verdict, and the schema of its record."""
