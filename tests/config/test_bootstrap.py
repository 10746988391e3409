"""The environment that manage.py makes: complete or not used at all."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from config import bootstrap

ROOT = Path(__file__).resolve().parents[2]
BASE_PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
#: Enters the environment of the folder named first and tells where it arrived.
ENTER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from config import bootstrap
try:
    bootstrap.enter(Path(sys.argv[1]), test=False, argv=["-c", "import sys; print(sys.prefix)"])
except bootstrap.CannotBuild as error:
    sys.exit(str(error))
"""


def manage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("manage_py", ROOT / "manage.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that needs no packages, so that its environment is made quickly and without a network."""
    (tmp_path / "requirements.txt").write_text("\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "requirements.txt").write_text("\n")
    return tmp_path


def begin(project: Path, **environ: str) -> subprocess.Popen[str]:
    line = [str(BASE_PYTHON), "-c", ENTER, str(project)]
    env = {**os.environ, **environ}
    return subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(started: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = started.communicate(timeout=120)
    return started.returncode, out.strip(), err


class TestOldPython:
    @pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 2, "final", 0), (3, 10, 14)])
    def test_is_told_what_to_install(self, version: tuple[object, ...]) -> None:
        line = manage().too_old(version)
        assert line.startswith(
            "Holdpoint needs Python 3.11 or newer, this is " + ".".join(map(str, version[:3]))
        )
        assert "install" in line
        assert "\n" not in line

    @pytest.mark.parametrize("version", [(3, 11, 0), (3, 14, 1), (4, 0, 0)])
    def test_newer_ones_pass(self, version: tuple[int, ...]) -> None:
        assert manage().too_old(version) == ""


class TestIsComplete:
    WANTED = {"run": "a", "test": "b"}

    def environment(self, folder: Path, **record: str) -> Path:
        python = bootstrap.interpreter(folder)
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\n")
        python.chmod(0o755)
        bootstrap.write_record(folder, record)
        return folder

    def test_with_both_locks(self, tmp_path: Path) -> None:
        assert bootstrap.is_complete(
            self.environment(tmp_path, state="complete", run="a", test="b"), self.WANTED
        )

    @pytest.mark.parametrize(
        "record",
        [
            {"state": "building"},
            {"state": "building", "run": "a", "test": "b"},
            {"state": "complete", "run": "a"},
            {"state": "complete", "run": "older", "test": "b"},
        ],
    )
    def test_not_otherwise(self, tmp_path: Path, record: dict[str, str]) -> None:
        assert not bootstrap.is_complete(self.environment(tmp_path, **record), self.WANTED)

    def test_not_with_a_damaged_record(self, tmp_path: Path) -> None:
        self.environment(tmp_path, state="complete", run="a", test="b")
        (tmp_path / bootstrap.RECORD).write_text('{"state": "comp')
        assert not bootstrap.is_complete(tmp_path, self.WANTED)

    def test_not_when_its_python_is_gone(self, tmp_path: Path) -> None:
        self.environment(tmp_path, state="complete", run="a", test="b")
        bootstrap.interpreter(tmp_path).unlink()
        assert not bootstrap.is_complete(tmp_path, self.WANTED)


class TestEnsurepip:
    def test_elsewhere_the_cure_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bootstrap, "is_debian", lambda: False)
        with pytest.raises(bootstrap.CannotBuild, match="install its ensurepip module, or uv"):
            bootstrap.supply_ensurepip()

    def test_on_debian_without_root_the_line_to_type_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bootstrap, "is_debian", lambda: True)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(bootstrap.CannotBuild, match=r"type sudo apt-get install python3\.\d+-venv"):
            bootstrap.supply_ensurepip()

    def test_debian_and_its_children_are_known(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bootstrap.shutil, "which", lambda name: f"/usr/bin/{name}")
        release = tmp_path / "os-release"
        for text, known in (
            ("ID=debian\n", True),
            ('ID=ubuntu\nID_LIKE="debian"\n', True),
            ("ID=fedora\n", False),
        ):
            release.write_text(text)
            assert bootstrap.is_debian(release) is known


@pytest.mark.processes
class TestBuild:
    def test_two_starts_at_once_build_once_and_a_third_does_nothing(self, project: Path) -> None:
        results = [finish(started) for started in [begin(project), begin(project)]]
        assert [result[:2] for result in results] == [(0, str(project / ".venv"))] * 2
        said = "".join(result[2] for result in results)
        assert said.count("Making the environment /") == 1
        assert finish(begin(project)) == (0, str(project / ".venv"), "")

    def test_a_new_lock_is_installed_and_recorded(self, project: Path) -> None:
        finish(begin(project))
        before = json.loads((project / ".venv" / bootstrap.RECORD).read_text())
        (project / "requirements.txt").write_text("# nothing yet\n")
        code, _, said = finish(begin(project))
        assert code == 0
        assert "Installing" in said
        assert "Making the environment /" not in said
        assert json.loads((project / ".venv" / bootstrap.RECORD).read_text())["run"] != before["run"]

    def test_an_interrupted_build_is_made_again_from_nothing(self, project: Path) -> None:
        started = begin(project)
        record = project / ".venv" / bootstrap.RECORD
        deadline = time.monotonic() + 60
        while not record.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        started.send_signal(signal.SIGKILL)
        finish(started)
        (project / ".venv" / "left-over").touch()
        assert json.loads(record.read_text()) == {"state": "building"}
        code, out, _ = finish(begin(project))
        assert (code, out) == (0, str(project / ".venv"))
        assert not (project / ".venv" / "left-over").exists()

    def test_a_failed_install_is_one_line_and_is_not_used(self, project: Path) -> None:
        (project / "requirements.txt").write_text("no-such-package-of-ours ==\n")
        code, _, said = finish(begin(project))
        assert code == 1
        assert "failed:" in said.splitlines()[-1]
        assert bootstrap.record_of(project / ".venv") == {"state": "building"}

    def test_a_project_folder_that_cannot_be_written_is_one_line(self, project: Path) -> None:
        (project / ".venv.lock").mkdir()
        code, _, said = finish(begin(project))
        assert code == 1
        assert said.count("\n") == 1
        assert "make the project folder writable" in said
