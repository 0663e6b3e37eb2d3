"""What a check reports: findings, counterexamples, and their minimisation."""
