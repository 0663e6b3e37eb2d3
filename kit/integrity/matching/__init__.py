"""The rules of matching: a reference order book, a proof of priority, the depth of a book."""
