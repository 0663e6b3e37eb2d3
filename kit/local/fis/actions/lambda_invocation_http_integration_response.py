"""aws:lambda:invocation-http-integration-response: answer with a chosen HTTP status and content type.

Unlike AWS: no extension layer is needed, only its environment variables; a fault begins and ends at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.fis_rules.parameters import is_true
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.lambda_faults import PERCENT, Effect, inject
from kit.local.fis.errors import ConfigurationFailure

STATUS_MAX = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationHttpIntegrationResponse:
    """`prevents_execution`: answer without running the code; else its answer is replaced."""

    status: int
    content_type: str
    prevents_execution: bool
    percent: int = PERCENT

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            status=int(parameters["statusCode"]),
            content_type=parameters["contentTypeHeader"],
            prevents_execution=is_true(parameters["preventExecution"]),
            percent=int(parameters.get("invocationPercentage", PERCENT)),
        )

    async def start(self, context: ActionContext) -> None:
        if self.status > STATUS_MAX:
            raise ConfigurationFailure(f"statusCode {self.status} must be within 0 and {STATUS_MAX}")
        body = {"statusCode": self.status, "headers": {"Content-Type": self.content_type}, "body": ""}
        effect = Effect(answer={"body": body, "log": ""}, prevents_execution=self.prevents_execution)
        inject(context, self.percent, effect)
