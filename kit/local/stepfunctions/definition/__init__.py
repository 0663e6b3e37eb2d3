"""Check definitions of state machines."""
