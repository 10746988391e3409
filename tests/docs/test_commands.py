"""Commands in the words for users exist, and take the options that they are shown with."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
from celery.bin.celery import celery
from django.core.management import get_commands, load_command_class
from drf_spectacular.generators import SchemaGenerator
from uvicorn.main import main as uvicorn

from config.management.commands import test as test_command
from tests.docs.pages import DOCS, blocks, pages, prose

COMMANDS_PAGE = DOCS / "reference" / "commands.md"
OURS = ("up", "worker", "test", "runs", "approvals", "doctor", "tools", "tokens", "journal", "support_desk")
KNOWN = {"export", "mkdir", "touch", "python3", "celery", "uvicorn", "curl"}
_INLINE = re.compile(r"`(?:python3 )?manage\.py ([^`…]+)`")


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    """Every line of every sh block: where it stands, and its words without leading assignments."""
    for page in pages():
        for block in blocks(page, "sh"):
            for line in block.text.splitlines():
                words = shlex.split(line)
                while words and "=" in words[0]:
                    words.pop(0)
                yield f"{block}: {line.strip()}", words


LINES = list(shell_lines())


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one of Django's or our commands."""
    if name == "test":
        parser = argparse.ArgumentParser()
        test_command.Command().add_arguments(parser)  # type: ignore[arg-type]
        return parser
    command = load_command_class(get_commands()[name], name)
    return command.create_parser("manage.py", name)


def parse(name: str, arguments: list[str]) -> argparse.Namespace:
    """What the command makes of these arguments; an error of usage fails the test."""
    try:
        return parser_of(name).parse_args(arguments)
    except (SystemExit, Exception) as error:
        raise AssertionError(f"manage.py {name} {shlex.join(arguments)}: {error}") from None


@pytest.mark.parametrize("words", [pytest.param(words, id=where) for where, words in LINES])
def test_a_shell_line_can_be_typed(words: list[str]) -> None:
    assert words[0] in KNOWN
    if words[:2] == ["python3", "manage.py"]:
        options = vars(parse(words[2], words[3:]))
        for name in ("input", "result"):
            if str(options.get(name, "")).startswith("{"):
                json.loads(options[name])
    elif words[0] == "python3":
        assert words[1] == "-c"
    elif words[0] == "celery":
        assert words[1:3] == ["-A", "config.celery"]
        takes(celery.commands[words[3]], words[4:])
    elif words[0] == "uvicorn":
        takes(uvicorn, words[1:])
    elif words[0] == "curl":
        asks_the_api(words)


@cache
def api() -> dict[str, Any]:
    """The schema of the API, as it is served."""
    made: dict[str, Any] = json.loads(json.dumps(SchemaGenerator().get_schema(public=True)))
    return made


def asks_the_api(words: list[str]) -> None:
    """Whether the address is one of the API's, and query and body are what it takes."""
    address = urlsplit(words[-1].replace("$API", "/api/v1"))
    patterns = {path: re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) for path in api()["paths"]}
    # An address that is spelt out goes before one with a place for an id.
    fits = [path for path, pattern in patterns.items() if re.fullmatch(pattern, address.path)]
    path = min(fits, key=lambda path: path.count("{"))
    body = words[words.index("--json") + 1] if "--json" in words else None
    operation = api()["paths"][path]["get" if body is None else "post"]
    takes_in_query = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
    assert set(parse_qs(address.query)) <= takes_in_query
    if body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        example = json.loads(body.replace("run_…", "run_0"))
        jsonschema.validate(example, {**schema, "components": api()["components"]})


def takes(command: object, words: list[str]) -> None:
    """Whether a click command knows these options."""
    known = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known


def test_commands_within_sentences_exist() -> None:
    for page in pages():
        for found in _INLINE.findall(prose(page)):
            name, *arguments = shlex.split(found)
            if arguments and not {"reconcile", "runs"} & {name, *arguments}:
                parse(name, arguments)
            assert name in get_commands(), found


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_has_a_section_with_all_its_verbs_and_options(name: str) -> None:
    text = COMMANDS_PAGE.read_text(encoding="utf-8")
    assert f"\n## {name}\n" in text
    section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    for option in options_of(parser_of(name)):
        assert option in section, f"{option} is missing under {name}"


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The verbs and own options of a command, all the way down."""
    common = {"--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color"}
    common |= {"--force-color", "--skip-checks"}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, below in action.choices.items():
                yield verb
                yield from options_of(below)
        elif action.help != argparse.SUPPRESS:
            yield from (o for o in action.option_strings if o.startswith("--") and o not in common)


@pytest.mark.parametrize("name", ["runs", "tools", "tokens", "journal"])
def test_exit_codes_are_those_that_the_command_declares(name: str) -> None:
    module = load_command_class(get_commands()[name], name).__module__
    said = re.search(r"Exit codes: ([^.]+)\.", import_module(module).__doc__ or "")
    assert said
    declared = set(re.findall(r"\b(\d+) ", said[1]))
    section = COMMANDS_PAGE.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| (\d+) \|", section, re.MULTILINE)) == declared
