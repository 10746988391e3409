"""Forking a run: a new run that begins with what another one has on record, up to a step."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from runs import workflow
from runs.actors import acting_as, plain_name
from runs.journal import Entry
from runs.models import Artifact, Run, Step
from runs.services.activation import choose_version
from runs.services.again import in_doubt, must_be_a_step, must_have_its_contents, steps_on_record, top_of
from runs.services.fitting import must_fit
from runs.services.record import NotPossible, append_entries, found_run, lock_run, said_why
from runs.services.standing import must_allow
from runs.services.start import new_run
from runs.states import StepState
from runs.turns import columns
from runs.turns.checkpoint import own_transaction
from tools.canonical import digest, new_id

_DONE = (StepState.SUCCEEDED, StepState.FAILED, StepState.REFUSED)
_COPIED = [field.attname for field in Step._meta.concrete_fields if not field.generated]
_ARTIFACT = [field.attname for field in Artifact._meta.concrete_fields]


def fork_run(run_id: str, at_path: str, *, actor: str, reason: str, version: int | None = None) -> Run:
    """Start a new run, asked for by `actor`, with the input of `run_id` and its record before the top-level
    step `at_path`; from there on it goes its own way, with keys of its own.

    The run it comes from is left as it is. Effects on record are not repeated; what stands at `at_path` or
    after it is done by the new run, whether or not the old one did it. `version` may name another version of
    the workflow; its code must fit that record. Raises NotFound, NotPossible, UnknownWorkflow, InvalidInput.
    """
    why, fork_id = said_why(reason), new_id("run")
    seen = found_run(run_id)
    # Before anything is locked: code of users takes as long as it takes.
    must_fit(seen, plan_fork(seen, at_path), at_path, version=version, id=fork_id, requester=actor)
    with own_transaction(), acting_as(actor):
        origin = lock_run(run_id)
        kept = plan_fork(origin, at_path)
        definition = (
            workflow.get(origin.workflow, origin.version)
            if version is None
            else choose_version(origin.workflow, version)
        )
        names = {
            "run": fork_id,
            "forked_from": origin.id,
            "at": at_path,
            "version": definition.version,
            "reason": why,
        }
        run = new_run(
            definition,
            definition.check_input(origin.input),
            actor=actor,
            said=f"{plain_name(actor)} forked {origin.id} from step {at_path}: {why}",
            content=names | _sealed(origin, kept),
            id=fork_id,
            intent=origin.intent,
            source="fork",
            priority=origin.priority,
            forked_from=origin.id,
        )
        _copy_all(run, kept, why, actor)
        told = f"{plain_name(actor)} forked {run.id} from it at step {at_path}: {why}"
        append_entries(origin, [Entry("run.forked", told, names)], actor=actor)
    return run


def _sealed(origin: Run, kept: Sequence[Step]) -> dict[str, Any]:
    """What was copied, by its digests, and the end of the journal that it was copied from."""
    return {
        "head": {"seq": origin.head_seq, "hash": bytes(origin.head_hash).hex()},
        "steps": {step.path: digest([step.state, step.result, step.blob, step.error]) for step in kept},
    }


def plan_fork(origin: Run, at_path: str) -> list[Step]:
    """The steps that a fork at `at_path` takes along. Raises NotPossible; writes nothing."""
    must_allow("fork", origin)
    must_have_its_contents(origin)
    steps = steps_on_record(origin)
    must_be_a_step(origin, steps, at_path)
    before = [step for step in steps if 0 < top_of(step) < int(at_path)]
    for step in before:
        if in_doubt(step):
            raise NotPossible(
                f"{origin.id} cannot be forked at step {at_path}: step {step.path} ({step.name}) was begun "
                "and may have happened, so the fork might do it twice. Settle that first.",
                code="unknown",
            )
    return [step for step in before if step.state in _DONE]


def _copy(step: Step, run: Run) -> Step:
    """The same record in another run; what it cost was paid by the first."""
    values = {name: getattr(step, name) for name in _COPIED}
    values |= {"id": new_id("stp"), "run_id": run.id, "epoch": 0, "input_tokens": 0, "output_tokens": 0}
    return Step(**values | {"cost": None if step.cost is None else Decimal(0)})


def _copy_all(run: Run, kept: Sequence[Step], why: str, actor: str) -> None:
    """The copied steps with their history, and the artifacts they made."""
    copies = [_copy(step, run) for step in kept]
    Step.objects.bulk_create(copies)
    kinds = Step.history.model
    names = columns.STEP_HISTORY
    kinds.objects.bulk_create(
        kinds(
            **dict(zip(names, columns.values_of(step, names), strict=True)),
            history_date=run.created_at,
            history_type="+",
            history_change_reason=why,
            actor=actor,
        )
        for step in copies
    )
    now_of = {step.id: copy.id for step, copy in zip(kept, copies, strict=True)}
    Artifact.objects.bulk_create(
        Artifact(
            **{name: getattr(artifact, name) for name in _ARTIFACT}
            | {"id": new_id("art"), "run_id": run.id, "step_id": now_of[artifact.step_id]}
        )
        for artifact in Artifact.objects.filter(step_id__in=now_of)
    )
