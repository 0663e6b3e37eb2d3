"""The rules of AWS FIS experiment templates, shared by the linter and the local FIS."""
