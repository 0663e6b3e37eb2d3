"""Append one character per invocation to the file RAN, and return the event: a Lambda function."""

import os
import pathlib
from typing import Any


def handler(event: Any, context: Any) -> dict[str, Any]:
    with pathlib.Path(os.environ["RAN"]).open("a") as ran:
        ran.write("x")
    return {"echo": event}
