"""The game-day kit: deploy, load, inject, observe, judge and report."""
