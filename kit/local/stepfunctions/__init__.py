"""Step Functions of the local AWS."""

from kit.local.stepfunctions.service import StepFunctions

__all__ = ["StepFunctions"]
