"""aws:lambda:invocation-error: let invocations fail, with or without running the function's code first.

Unlike AWS: no extension layer is needed, only its environment variables; a fault begins and ends at once; the
error's type and words are made up here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kit.fis_rules.parameters import is_true
from kit.local.fis.actions.context import ActionContext
from kit.local.fis.actions.lambda_faults import PERCENT, Effect, inject

ERROR = {"errorType": "FISInjectedError", "errorMessage": "Invocation failed by AWS FIS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationError:
    """`prevents_execution`: fail without running the code."""

    prevents_execution: bool
    percent: int = PERCENT

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        return cls(
            prevents_execution=is_true(parameters["preventExecution"]),
            percent=int(parameters.get("invocationPercentage", PERCENT)),
        )

    async def start(self, context: ActionContext) -> None:
        answer = {"body": ERROR, "error": True, "function_error": "Unhandled", "log": ""}
        inject(context, self.percent, Effect(answer=answer, prevents_execution=self.prevents_execution))
