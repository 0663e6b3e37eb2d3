"""How a check becomes a finding: its sentences, the counterexample and its minimisation."""
