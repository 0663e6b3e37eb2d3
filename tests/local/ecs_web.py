"""Serve HTTP as a container of the ECS tests; the first argument chooses how it behaves."""

import http.server
import json
import os
import signal
import subprocess
import sys

mode = sys.argv[1] if len(sys.argv) > 1 else "web"
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", mode, os.environ.get("COLOUR", ""), flush=True)  # noqa: T201  # the output of the container
if mode == "forking":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
if mode == "env":
    print(json.dumps(dict(os.environ)), flush=True)  # noqa: T201  # the output of the container


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        failing = mode == "sick" and self.path == "/healthz"
        body = json.dumps({"pid": os.getpid(), "colour": os.environ.get("COLOUR", "")}).encode()
        self.send_response(500 if failing else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
