"""What somebody who types a command reads when it cannot be done: a sentence, and no name of an error."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

from tools.command import PlainCommand

pytestmark = pytest.mark.django_db(transaction=True)
#: Commands that cannot do what is asked, the exit code, and how what they say begins.
IMPOSSIBLE = [
    ("tools reconcile call_x --did-not-happen --note n --by ana", 4, "There is no active user called ana"),
    ("runs show run_x", 4, "There is no run run_x"),
    ("approvals show apr_x --by ana", 4, "There is no active user called ana"),
    ("journal verify run_x", 4, "There is no run run_x"),
    ("tokens revoke tok_x --by ana", 4, "There is no user called ana"),
    ("runs resume run_x --by ana --reason r", 4, "There is no active user called ana"),
]


def typed(line: str) -> Any:
    name, *words = line.split()
    # What the checks warn of, such as tools of other tests, would be written before it.
    load_command_class(get_commands()[name], name).run_from_argv(["manage.py", name, "--skip-checks", *words])


@pytest.mark.parametrize(("line", "code", "begins"), IMPOSSIBLE)
def test_it_works(line: str, code: int, begins: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        typed(line)
    said = capsys.readouterr().err
    assert (ended.value.code, said.startswith(begins)) == (code, True), said


def test_no_command_of_the_apps_is_left_out() -> None:
    apps = ("tools", "runs", "approvals", "ops", "examples.support_desk")
    ours = {name for name, app in get_commands().items() if app in apps}
    assert {"tools", "runs", "approvals", "journal", "tokens", "doctor", "support_desk"} <= ours
    made = {name: load_command_class(get_commands()[name], name) for name in ours}
    assert [name for name in sorted(ours) if not isinstance(made[name], PlainCommand)] == []


def test_an_engineer_may_see_where_it_came_from() -> None:
    with pytest.raises(CommandError, match="There is no run run_x"):
        typed("runs --traceback show run_x")


def test_code_that_calls_it_catches_it() -> None:
    with pytest.raises(CommandError, match="There is no run run_x") as refused:
        call_command("runs", "show", "run_x")
    assert refused.value.returncode == 4
