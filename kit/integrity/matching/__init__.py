"""A reference order book, and replay of the ledger against it."""
