"""What the stories are told with: a crew of real workers, a world they act on, people who decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from approvals import services as approvals
from approvals.models import Approval, Decision
from ops.launch.workers import WorkerProcess
from runs import journal, services
from runs.models import JournalEntry, Run, Step, Worker
from tests.flows.promises import world
from tools import registry

with registry.scratch():
    # Other tests see an installation without the tools of the stories.
    before = set(registry.all_tools())
    from tests.flows.promises import workflows
    from tests.flows.story import Until

    PROMISED = [tool for tool in registry.all_tools() if tool not in before]

# Seconds, in stories about leases that end. Elsewhere they last as long as in production: whoever is proven
# to be gone loses its runs at once.
SHORT_LEASE, SHORT_MARGIN = 2, 1
ALL_QUEUES = ("runs", "agents", "caretakers")


@pytest.fixture(autouse=True)
def promised_tools() -> Iterator[None]:
    """The tools of the stories, as in the workers."""
    with registry.scratch():
        for tool in PROMISED:
            registry.add(tool)
        yield


@pytest.fixture
def until() -> Until:
    """Waits for a condition, and fails the test when it does not come true in time."""
    return Until()


@pytest.fixture
def story_env(tmp_path: Path, process_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of the workers: the app of the stories, and its world."""
    monkeypatch.setenv(world.PLACE, str(tmp_path / "world"))
    return {
        **process_env,
        world.PLACE: str(tmp_path / "world"),
        "HOLDPOINT_APPS": "tests.flows.promises",
    }


@pytest.fixture
def short_leases(story_env: dict[str, str]) -> None:
    """Leases that are over soon."""
    story_env["HOLDPOINT_LEASE_SECONDS"] = str(SHORT_LEASE)
    story_env["HOLDPOINT_LEASE_MARGIN"] = str(SHORT_MARGIN)


class Crew:
    """Worker processes of one story; each has a log of its own."""

    def __init__(self, env: dict[str, str], folder: Path, until: Until) -> None:
        self._env = env
        self._folder = folder
        self._until = until
        self.workers: list[WorkerProcess] = []

    def make(
        self,
        count: int = 1,
        *,
        queues: tuple[str, ...] = ALL_QUEUES,
        pool: str = "threads",
        threads: int = 4,
        **env: str,
    ) -> list[WorkerProcess]:
        """`count` more workers, with `env` besides, for whoever starts them."""
        made = [
            WorkerProcess(
                {**self._env, **env},
                queues,
                threads,
                pool,
                name=f"worker-{len(self.workers) + number}",
                folder=self._folder,
            )
            for number in range(count)
        ]
        self.workers += made
        return made

    def start(self, count: int = 1, *, pool: str = "threads", **shape: Any) -> list[WorkerProcess]:
        """As `make`, all started at once; they are ready when this returns."""
        begun = [worker.start() for worker in self.make(count, pool=pool, **shape)]
        for worker in begun:
            worker.wait_ready(60)
        pids = [worker.pid for worker in begun]
        if pool == "threads":
            self._until(lambda: Worker.objects.filter(pid__in=pids).count() == count, 10)
        return begun

    def row(self, worker: WorkerProcess) -> Worker:
        """What is on record of a worker with a pool of threads."""
        return Worker.objects.filter(pid=worker.pid).latest("started_at")

    def holder(self, run: Run) -> WorkerProcess:
        """The worker that holds the lease of `run`."""
        owner = Run.objects.values_list("lease_owner", flat=True).get(pk=run.pk)
        pid = Worker.objects.get(pk=owner).pid
        (found,) = (worker for worker in self.workers if worker.pid == pid)
        return found

    def kill_all(self) -> None:
        """SIGKILL for every worker and its children."""
        for worker in self.workers:
            worker.kill()

    def last_words(self) -> str:
        """The end of each log."""
        return "\n".join(f"-- {worker.name}\n{worker.last_words(8)}" for worker in self.workers)

    def said(self, words: str) -> int:
        """How many lines of the workers' logs contain `words`."""
        logs = (self._folder / "logs").glob("*.log")
        return sum(words in line for log in logs for line in log.read_text(errors="replace").splitlines())


@pytest.fixture
def crew(story_env: dict[str, str], tmp_path: Path, until: Until) -> Iterator[Crew]:
    """The workers; whatever still runs at the end is killed."""
    made = Crew(story_env, tmp_path, until)
    yield made
    made.kill_all()


class Stage:
    """Runs of the stories' workflow, the files that hold their calls, and what the record says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, name: str) -> str:
        """The path of a file that a call can wait for."""
        return str(self._folder / f"file-{name}")

    def let_go(self, place: str) -> None:
        """Make the file that a call waits for."""
        Path(place).touch()

    def start(self, *acts: workflows.Act, actor: str = "user:ana") -> Run:
        """A run that does `acts`."""
        plan = workflows.Plan(acts=list(acts)).model_dump(mode="json")
        return services.start_run("promises.plan", plan, actor=actor)

    def entries(self, run: Run, kind: str) -> list[JournalEntry]:
        """The journal of `run`, of that kind."""
        return list(JournalEntry.objects.filter(run=run, kind=kind).order_by("seq"))

    def step(self, run: Run, path: str) -> Step:
        """The step at `path` as it is now."""
        return Step.objects.get(run=run, path=path)

    def approval(self, run: Run) -> Approval:
        """The open request of `run`."""
        return Approval.objects.get(run=run, state="pending")

    def record(self) -> str:
        """All journals and where the runs stand, for whoever must find out what went wrong."""
        runs = [
            f"{run.pk} {run.state} epoch {run.lease_epoch} {run.lease_owner} wake {run.wake_at}"
            for run in Run.objects.all()
        ]
        lines = [
            f"{entry.run_id} {entry.seq} {entry.at:%M:%S.%f} {entry.actor} {entry.kind}: {entry.sentence}"
            for entry in JournalEntry.objects.order_by("run_id", "seq")
        ]
        return "\n".join([*runs, *lines])

    def asks(self, run: Run) -> bool:
        """Whether a person is asked about `run`, and it waits."""
        return state_of(run) == "waiting" and Approval.objects.filter(run=run, state="pending").exists()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Under a story that failed: what its workers wrote, and what the journals say."""
    report = (yield).get_result()
    crew, stage = (getattr(item, "funcargs", {}).get(name) for name in ("crew", "stage"))
    if report.when == "call" and report.failed and crew and stage:
        report.sections += [("workers", crew.last_words()), ("journals", stage.record())]


def state_of(run: Run) -> str:
    """The state on record."""
    return str(Run.objects.values_list("state", flat=True).get(pk=run.pk))


def assert_whole(run: Run) -> Run:
    """The run as it is now, after checking that its journal verifies and that no step succeeded twice."""
    run = Run.objects.get(pk=run.pk)
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []
    ends = [e.step_id for e in run.journal.filter(kind="call.succeeded")]
    assert len(ends) == len(set(ends)), "a step succeeded twice"
    return run


@pytest.fixture
def stage(tmp_path: Path, story_env: dict[str, str]) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def bea(story_env: dict[str, str]) -> User:
    """A reviewer."""
    return _reviewer("bea")


@pytest.fixture
def carl(story_env: dict[str, str]) -> User:
    """Another reviewer."""
    return _reviewer("carl")


def _reviewer(name: str) -> User:
    person = User.objects.create_user(name, password="x")
    person.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    return person


Decide = Callable[..., Decision]


@pytest.fixture
def decide() -> Decide:
    """Says yes or no to the open request of a run, as the page does."""

    def say(run: Run, by: User, verdict: str = "approve", **more: Any) -> Decision:
        asked = Approval.objects.get(run=run, state="pending")
        return approvals.decide(asked.pk, by=by, verdict=verdict, digest=asked.digest, **more)

    return say
