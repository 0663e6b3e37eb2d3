"""uvicorn's HTTP and WebSocket connections, with a bound on everything that a client decides: size, count and time."""
