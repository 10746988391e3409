"""The workers that are measured, the work they get and the person who decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.launch.workers import WorkerProcess

if TYPE_CHECKING:
    from django.contrib.auth.models import User

THREADS = 32
QUEUES = ("runs", "agents", "caretakers")
REVIEWER = "benchmark-reviewer"
#: Steps and milliseconds of each kind of work that is nothing but steps.
WALKS = {"seq": (10, 0), "slow": (10, 10), "io": (10, 50)}


def workflow_of(kind: str) -> str:
    """The workflow that does this kind of work."""
    return "bench.walk" if kind in WALKS else "bench.sign"


def inputs_of(kind: str, name: str) -> dict[str, Any]:
    """The input of one run of this kind, whose steps leave their marks under `name`."""
    if kind not in WALKS:
        return {"name": name}
    steps, milliseconds = WALKS[kind]
    return {"name": name, "steps": steps, "milliseconds": milliseconds}


def prepare_people() -> User:
    """The person who decides; the same has activated the workflows."""
    from django.contrib.auth.models import User

    from runs import services, workflow

    reviewer = User.objects.create_superuser(REVIEWER)
    for definition in workflow.all_workflows():
        services.activate_version(
            definition.name, definition.version, actor=f"user:{REVIEWER}", reason="To be measured."
        )
    return reviewer


def approve(run_id: str, reviewer: User) -> None:
    """Say yes to what the run asks, as the page does."""
    from approvals import services
    from approvals.models import Approval

    asked = Approval.objects.filter(run_id=run_id, state="pending").values_list("pk", "digest")
    approval_id, digest = asked.get()
    services.decide(approval_id, by=reviewer, verdict="approve", digest=digest)


class Crew:
    """Worker processes, started together and killed together. `folder` gets their logs."""

    def __init__(
        self, env: Mapping[str, str], folder: Path, *, count: int = 2, threads: int = THREADS
    ) -> None:
        self._env = dict(env)
        self._folder = folder
        self._count = count
        self._threads = threads
        self._started = 0
        self.workers: list[WorkerProcess] = []

    def start(self) -> None:
        """All of them; they take work when this returns."""
        begun = [
            WorkerProcess(
                self._env, QUEUES, self._threads, name=f"worker-{self._started + n}", folder=self._folder
            ).start()
            for n in range(self._count)
        ]
        self._started += self._count
        self.workers = begun
        for worker in begun:
            worker.wait_ready(60)

    def kill(self) -> None:
        """SIGKILL for all of them at once."""
        for worker in self.workers:
            worker.kill()
        self.workers = []

    def stop(self) -> None:
        """An orderly end."""
        for worker in self.workers:
            worker.stop()
        self.workers = []
