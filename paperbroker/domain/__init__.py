"""The exchange's rules: pure, integers only, deterministic. Knows no clock, no network and no storage."""
