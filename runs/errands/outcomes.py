"""What came of the body of a call, as the row of an errand keeps it: its result, or how it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.failures import Failure, FailureClass, Proof, Refused, classify


@dataclass(frozen=True)
class Outcome:
    """The result (JSON), or the failure and whether the tool's own rules refused."""

    result: Any = None
    failure: Failure | None = None
    refused: bool = False


def failed(error: Exception) -> Outcome:
    """What a body that raised `error` came to."""
    return Outcome(failure=classify(error), refused=isinstance(error, Refused))


def told(outcome: Outcome) -> dict[str, Any]:
    """The outcome as JSON for the row."""
    failure = outcome.failure
    if failure is None:
        return {"result": outcome.result}
    return {
        "failure": {
            "kind": failure.kind.value,
            "message": failure.message,
            "retry_after": failure.retry_after,
            "proof": failure.proof.value,
            "code": failure.code,
            "refused": outcome.refused,
        }
    }


def heard(row: Any) -> Outcome:
    """The outcome that `told` wrote."""
    said = row.get("failure")
    if said is None:
        return Outcome(result=row["result"])
    failure = Failure(
        FailureClass(said["kind"]),
        said["message"],
        said["retry_after"],
        Proof(said["proof"]),
        said.get("code", ""),
    )
    return Outcome(failure=failure, refused=said["refused"])
