"""Evaluate the query languages of Amazon States Language: JSONPath, intrinsic functions, choice rules, JSONata."""
