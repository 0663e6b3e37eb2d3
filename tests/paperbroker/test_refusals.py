"""The answers to refused requests: their status, and when their client should come back."""

from __future__ import annotations

import asyncio
import logging

import pytest
from starlette.requests import Request

from paperbroker import api, errors
from paperbroker.logs import Log

LATER = sorted((error for error, status in api.STATUS.items() if status in (429, 503)), key=lambda one: one.__name__)
NEVER = sorted((error for error, status in api.STATUS.items() if status < 429), key=lambda one: one.__name__)


def refusal(error: Exception):
    request = Request({"type": "http", "method": "POST", "path": "/orders", "headers": []})
    return asyncio.run(api._refusal(Log(logging.getLogger("silent")), request, error))


@pytest.mark.parametrize("error", LATER)
def test_a_refusal_that_may_be_gone_soon_says_when_to_come_back(error: type[errors.PaperBrokerError]):
    assert refusal(error("busy")).headers["retry-after"] == "1"


@pytest.mark.parametrize("error", [one for one in NEVER if one is not errors.InvalidRequest])
def test_a_final_refusal_does_not_ask_its_client_to_come_back(error: type[errors.PaperBrokerError]):
    assert "retry-after" not in refusal(error("no")).headers


def test_an_invalid_request_is_told_its_field():
    answer = refusal(errors.InvalidRequest("qty", "must be an integer"))
    assert answer.status_code == 400 and b'"field":"qty"' in answer.body
