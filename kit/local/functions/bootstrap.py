"""Serve the invocations of one Python function: the program of an execution environment, as Lambda's own runtime.

Events come and answers go as JSON lines over the standard input and output of this process. What the function prints
goes to the standard error output, and ends for each invocation with the marker in the first line. Error types and their
words are those of AWS's Python runtime. Only the standard library is used here, before the function's own code is.
"""

import importlib
import json
import logging
import os
import socket
import sys
import time
import traceback

MALFORMED_NAME, IMPORT_FAILED = "Runtime.MalformedHandlerName", "Runtime.ImportModuleError"
SYNTAX, NOT_FOUND = "Runtime.UserCodeSyntaxError", "Runtime.HandlerNotFound"
MARSHAL = "Runtime.MarshalError"


class Fault(Exception):
    """An error that AWS's runtime names itself."""

    def __init__(self, error_type, message, trace=()):
        super().__init__(message)
        self.error_type = error_type
        self.trace = list(trace)


class Context:
    """What a handler gets as its second argument."""

    def __init__(self, invocation):
        variable = os.environ.get
        self.aws_request_id = invocation["request_id"]
        self.invoked_function_arn = invocation["arn"]
        self.function_name = variable("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = variable("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = variable("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = variable("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = None
        self.client_context = None
        self._deadline_s = invocation["deadline_s"]

    def get_remaining_time_in_millis(self):
        return max(0, int((self._deadline_s - time.time()) * 1000))

    def log(self, text):
        sys.stdout.write(str(text))


class Formatter(logging.Formatter):
    """Lambda's line of the `logging` module: level, time, request id, message, separated by tabs."""

    converter = time.gmtime
    request_id = ""

    def format(self, record):
        record.aws_request_id = Formatter.request_id
        return super().format(record)


def main():
    # Nothing that the function starts or prints may reach the pipes of this protocol.
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    marker = json.loads(requests.readline())["marker"]
    sys.path[:0] = [path for path in os.environ.pop("_FUNCTION_PATH").split(os.pathsep) if path]
    log_by_logging()
    connect_from(os.environ.pop("_FUNCTION_ADDRESS"))
    try:
        handler = find_handler(os.environ["_HANDLER"])
    except Fault as fault:
        give_up(answers, marker, error_of(str(fault), fault.error_type, fault.trace, ""))
    except Exception as error:  # noqa: BLE001  # whatever the function's module raises is the answer
        give_up(answers, marker, error_of_exception(error, ""))
    send(answers, marker, {"ready": True})
    for line in requests:
        invocation = json.loads(line)
        Formatter.request_id = invocation["request_id"]
        send(answers, marker, answer(handler, invocation))


def connect_from(own_address):
    """Let connections to this machine come from the environment's own address, by which links know the function."""

    def bind(sock, address):
        is_local = isinstance(address, tuple) and str(address[0]).startswith(("127.", "localhost"))
        if is_local and sock.family == socket.AF_INET and sock.getsockname()[0] == "0.0.0.0":
            sock.bind((own_address, 0))

    def wrap(connect):
        def connect_bound(sock, address):
            bind(sock, address)
            return connect(sock, address)

        return connect_bound

    socket.socket.connect = wrap(socket.socket.connect)
    socket.socket.connect_ex = wrap(socket.socket.connect_ex)


def log_by_logging():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    logging.getLogger().addHandler(handler)


def find_handler(name):
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        words = "not enough values to unpack (expected 2, got 1)"
        raise Fault(MALFORMED_NAME, f"Bad handler '{name}': {words}")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault(IMPORT_FAILED, f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault(SYNTAX, f"Syntax error in module '{module_name}': {error}", trace) from error
    handler = getattr(module, function_name, None)
    if handler is None:
        raise Fault(NOT_FOUND, f"Handler '{function_name}' missing on module '{module_name}'")
    return handler


def answer(handler, invocation):
    """Run the handler. An exit ends this process, and AWS's runtime, too."""
    request_id = invocation["request_id"]
    try:
        result = handler(json.loads(invocation["event"]), Context(invocation))
        try:
            return {"result": json.dumps(result)}
        except Exception as error:
            raise Fault(MARSHAL, f"Unable to marshal response: {error}") from error
    except Fault as fault:
        return {"error": error_of(str(fault), fault.error_type, fault.trace, request_id)}
    except Exception as error:  # noqa: BLE001  # whatever the function raises is the answer
        return {"error": error_of_exception(error, request_id)}


def error_of(message, error_type, trace, request_id):
    return {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": trace}


def error_of_exception(error, request_id):
    frames = traceback.extract_tb(error.__traceback__)
    # Leave out the frames of this file, which come first.
    while frames and frames[0].filename == __file__:
        del frames[0]
    return error_of(str(error), type(error).__name__, traceback.format_list(frames), request_id)


def log_error(error):
    head = f"[ERROR] {error['errorType']}: {error['errorMessage']}"
    trace = ["Traceback (most recent call last):", *(each.rstrip("\n") for each in error["stackTrace"])]
    sys.stdout.write("\n".join([head, *(trace if error["stackTrace"] else [])]) + "\n")


def send(answers, marker, message):
    if message.get("error"):
        log_error(message["error"])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Whoever reads the log knows by it that the log is complete.
    os.write(2, marker.encode())
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def give_up(answers, marker, error):
    send(answers, marker, {"error": error})
    sys.exit(1)


if __name__ == "__main__":
    main()
