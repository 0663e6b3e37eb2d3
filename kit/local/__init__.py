"""The embedded local AWS: MiniStack plus what it lacks. Nothing but its own process imports this package."""
