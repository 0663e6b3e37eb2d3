"""Lambda's rules that need no cloud: error words, retries, records, metrics, the unpacked code."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kit.local.functions import asynchronous, code_folder, metrics, outcomes, rules
from kit.local.functions.asynchronous import End, Settings
from kit.local.functions.definition import Definition, split_arn
from kit.local.functions.outcomes import Outcome

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
FAILED = {"error": True, "body": {"errorType": "ValueError", "errorMessage": "x"}, "function_error": "Unhandled"}
THROTTLED = {"error": True, "throttle": True, "body": {"message": "Rate Exceeded."}}
WORKED = {"body": {"n": 1}}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "Runtime exited without providing a reason"),
        (1, "Runtime exited with error: exit status 1"),
        (137, "Runtime exited with error: signal: killed"),
        (139, "Runtime exited with error: signal: segmentation fault"),
        (128 + 40, "Runtime exited with error: signal: signal 40"),
    ],
)
def test_an_exit_is_told_in_lambdas_words(code: int, words: str) -> None:
    assert outcomes.exited("id", code) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: id Error: {words}",
    }


def test_the_report_line_has_the_measured_numbers() -> None:
    outcome = Outcome(duration_ms=12.341, init_ms=100.0, memory_mb=47)
    assert outcomes.report_line("id", outcome, 128) == (
        "REPORT RequestId: id\tDuration: 12.34 ms\tBilled Duration: 113 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 47 MB\tInit Duration: 100.00 ms\t"
    )
    timeout = Outcome(error={}, reported="Sandbox.Timedout", duration_ms=3000)
    assert outcomes.report_line("id", timeout, 128).endswith("\tStatus: timeout\t")


def test_an_answer_over_six_megabytes_is_an_error() -> None:
    answer = outcomes.answer_of(Outcome(result=json.dumps("x" * outcomes.RESPONSE_BYTES_MAX)), "")
    assert answer["body"]["errorType"] == "Function.ResponseSizeTooLarge"
    assert outcomes.answer_of(Outcome(result='{"a": 1}'), "log") == {"body": {"a": 1}, "log": "log", "duration_ms": 0.0}


def carry_out(settings: Settings, answers: list[dict[str, Any]]) -> tuple[End, list[float]]:
    """Carry an event out against these answers; return what became of it, and the waits."""
    now, waits, given = [0.0], [], iter(answers)

    async def invoke() -> dict[str, Any]:
        return next(given)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    end = asyncio.run(asynchronous.carry_out(settings, invoke, clock=lambda: now[0], sleep=sleep))
    return end, waits


@pytest.mark.parametrize(
    ("settings", "answers", "condition", "invocations", "waits"),
    [
        ({}, [WORKED], "Success", 1, []),
        ({}, [FAILED, FAILED, WORKED], "Success", 3, [1.0, 2.0]),
        ({}, [FAILED, FAILED, FAILED], "RetriesExhausted", 3, [1.0, 2.0]),
        ({"retries": 0}, [FAILED], "RetriesExhausted", 1, []),
        ({}, [THROTTLED] * 3 + [WORKED], "Success", 1, [1.0, 2.0, 4.0]),
        ({"age_s_max": 60}, [THROTTLED] * 9, "EventAgeExceeded", 0, [1.0, 2.0, 4.0, 8.0, 16.0]),
        ({"age_s_max": 2}, [FAILED, FAILED], "EventAgeExceeded", 2, [1.0]),
        ({"has_no_concurrency": True}, [], "ZeroReservedConcurrency", 0, []),
    ],
)
def test_an_event_is_retried_as_documented(
    settings: dict[str, Any], answers: list[dict[str, Any]], condition: str, invocations: int, waits: list[float]
) -> None:
    """A throttle is no attempt: it uses up the event's age only."""
    end, waited = carry_out(Settings(**settings), answers)
    assert (end.condition, end.invocations, waited) == (condition, invocations, waits)


def test_settings_are_read_from_the_configuration() -> None:
    invoke_config = {
        "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {"Destination": "arn:q"}},
    }  # fmt: skip
    read = Settings.of(invoke_config, {"DeadLetterConfig": {"TargetArn": "arn:d"}}, 0)
    assert read == Settings(retries=0, age_s_max=60, on_failure="arn:q", dead_letter="arn:d", has_no_concurrency=True)
    assert Settings.of({}, {}, None) == Settings()


def test_a_record_tells_what_was_sent_and_what_came_back() -> None:
    end = End(condition="RetriesExhausted", answer=FAILED, invocations=3)
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    made = asynchronous.record(end, {"n": 1}, arn=f"{ARN}:$LATEST", version="$LATEST", request_id="id", now=now)
    assert made == {
        "version": "1.0", "timestamp": "2026-01-02T03:04:05.000Z", "requestPayload": {"n": 1},
        "requestContext": {
            "requestId": "id", "functionArn": f"{ARN}:$LATEST", "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": FAILED["body"],
    }  # fmt: skip
    never = asynchronous.record(
        End(condition="EventAgeExceeded", answer=THROTTLED, invocations=0),
        1,
        arn=ARN,
        version="1",
        request_id="i",
        now=now,
    )
    assert "responsePayload" not in never and never["requestContext"]["approximateInvokeCount"] == 0


def test_a_dead_letter_has_the_error_in_its_attributes() -> None:
    end = End(condition="RetriesExhausted", answer={"error": True, "body": {"errorMessage": "y" * 2000}}, invocations=3)
    attributes = asynchronous.dead_letter_attributes(end, "id")
    assert {name: each["StringValue"][:3] for name, each in attributes.items()} == {
        "RequestID": "id", "ErrorCode": "200", "ErrorMessage": "yyy",
    }  # fmt: skip
    assert len(attributes["ErrorMessage"]["StringValue"]) == 1024


def test_a_throttle_is_no_invocation() -> None:
    names = {each.name for each in metrics.of_throttle("f", "", "$LATEST")}
    assert names == {"Throttles"}


def test_an_alias_has_metrics_of_its_own() -> None:
    data = metrics.of_invocation("f", "live", "3", is_error=True, duration_ms=5, concurrent=2)
    errors = [each.dimensions for each in data if (each.name, each.value) == ("Errors", 1.0)]
    assert errors == [
        {}, {"FunctionName": "f"}, {"FunctionName": "f", "Resource": "f:live"},
        {"FunctionName": "f", "Resource": "f:live", "ExecutedVersion": "3"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("RequestResponse", b"x" * (6 * 1024 * 1024 + 1), "RequestEntityTooLargeException"),
        ("Event", b"1" * (1024 * 1024 + 1), "RequestEntityTooLargeException"),
        ("Event", b"{", "InvalidRequestContentException"),
        ("DryRun", b"\xff", "InvalidRequestContentException"),
    ],
)
def test_a_payload_that_lambda_refuses_is_refused(kind: str, payload: bytes, code: str) -> None:
    with pytest.raises(rules.RequestRefused) as caught:
        rules.check_payload(kind, payload)
    assert caught.value.code == code


@pytest.mark.parametrize("payload", [b"", b"null", b'"text"', b'"' + b"1" * (1024 * 1024 - 2) + b'"'])
def test_a_payload_within_the_limits_passes(payload: bytes) -> None:
    rules.check_payload("Event", payload)


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name.replace("__", "/"))
            entry.external_attr = 0o755 << 16
            written.writestr(entry, content)
    return buffer.getvalue()


def test_code_is_unpacked_with_its_modes_and_layers(tmp_path: Path) -> None:
    made = code_folder.unpack(tmp_path / "env", archive(app="x"), [archive(python__lib="y"), archive(bin__tool="z")])
    assert stat.S_IMODE((made.code / "app").stat().st_mode) == 0o755
    assert [path.relative_to(made.root).as_posix() for path in made.search_path] == ["task", "opt/python"]
    assert (made.root / "opt" / "bin" / "tool").read_text() == "z"
    assert made.programs({"PATH": "/bin"}) == {"PATH": f"/bin:{made.root}/opt/bin"}
    made.remove()
    assert not made.root.exists()


def test_code_cannot_leave_its_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("../../outside", "x")
    code_folder.unpack(tmp_path / "a" / "env", buffer.getvalue(), [])
    assert [path.name for path in tmp_path.rglob("outside")] == ["outside"]
    assert (tmp_path / "a" / "env" / "task" / "outside").exists()


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_code_that_is_no_archive_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(code_folder.CodeInvalid):
        code_folder.unpack(tmp_path / "env", content, [])
    assert not (tmp_path / "env").exists()


def test_code_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_folder, "UNPACKED_BYTES_MAX", 5)
    with pytest.raises(code_folder.CodeInvalid, match="over what is left of 5 bytes"):
        code_folder.unpack(tmp_path / "env", archive(app="123"), [archive(lib="456")])


def test_a_changed_setting_needs_another_environment() -> None:
    config = {"FunctionArn": f"{ARN}:live", "CodeSha256": "a", "Environment": {"Variables": {"A": "1"}}}
    before = Definition.of(config, b"")
    assert before == Definition.of({**config, "FunctionArn": ARN}, b"")
    for change in ({"Timeout": 9}, {"CodeSha256": "b"}, {"Environment": {"Variables": {"A": "2"}}}, {"Role": "r"}):
        assert Definition.of({**config, **change}, b"") != before
    assert (before.timeout_s, before.memory_mb, before.version) == (3.0, 128, "$LATEST")


def test_an_arn_is_split_into_its_parts() -> None:
    assert split_arn(f"{ARN}:live") == ("000000000000", "us-east-1", "f", "live")
    with pytest.raises(ValueError, match="is not the ARN of a function"):
        split_arn("arn:aws:sqs:us-east-1:000000000000:f")
