"""Do the work of Task states: calls, jobs, callbacks and activities."""
