"""The file that declares MCP servers: what cannot work is said at start, in a sentence that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.remote.conftest import Declared
from tools.mcp import servers
from tools.mcp.offers import local_name, offer
from tools.mcp.servers import UnknownServer

COMMAND = {"command": ["crm-server"]}


def test_it_works(declare: Declared) -> None:
    declare(
        crm={"command": ["crm-server", "--all"], "pass": ["PATH"], "timeout": 5},
        search={
            "url": "https://mcp.example.com/mcp",
            "headers": {"Authorization": "Bearer {token}"},
            "secrets": {"token": "env:SEARCH_TOKEN"},
        },
    )
    crm, search = servers.server("crm"), servers.server("search")
    assert (crm.command, crm.passes, crm.timeout) == (("crm-server", "--all"), ("PATH",), 5.0)
    assert (search.url, search.timeout) == ("https://mcp.example.com/mcp", 30.0)
    with pytest.raises(UnknownServer, match="declares: crm, search"):
        servers.server("other")


def test_without_a_file_there_are_none(settings: Any) -> None:
    settings.HOLDPOINT_MCP_SERVERS = ""
    assert servers.declared() == {}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "must hold one object"),
        ({"CRM": COMMAND}, "'CRM' cannot be a server's name"),
        ({"a_b": COMMAND}, "'a_b' cannot be a server's name"),
        ({"crm": {}}, "must have either a command or a url"),
        ({"crm": {**COMMAND, "url": "https://a.example"}}, "must have either a command or a url"),
        ({"crm": {**COMMAND, "env": {}}}, "has 'env'; known there are command, environment, pass"),
        ({"crm": {"command": "crm-server"}}, "command of the server crm must be a list"),
        ({"crm": {"command": []}}, "command of the server crm must be a list"),
        ({"crm": {**COMMAND, "environment": {"A": 1}}}, "environment.A of the server crm must be a text"),
        ({"crm": {**COMMAND, "environment": {"A": "{x}"}}}, "its secrets have no x"),
        ({"crm": {**COMMAND, "secrets": {"x": "env:X"}}}, "uses {x} nowhere"),
        ({"crm": {**COMMAND, "secrets": {"x": "hunter2"}}}, "must be a reference, never the value"),
        ({"crm": {**COMMAND, "timeout": 0}}, "timeout of the server crm must be a number"),
        ({"crm": {**COMMAND, "timeout": True}}, "timeout of the server crm must be a number"),
        ({"crm": {"url": "http://mcp.example.com"}}, "must begin with https"),
        ({"crm": {"url": "ftp://mcp.example.com"}}, "must be one such as https://"),
        ({"crm": {"url": "https://a:b@mcp.example.com"}}, "must be one such as https://"),
        ({"crm": {"url": "https://a.example", "headers": {"A": "b\r\nC: d"}}}, "must be a text of one line"),
    ],
)
def test_what_cannot_work(tmp_path: Path, settings: Any, told: Any, said: str) -> None:
    file = tmp_path / "servers.json"
    file.write_text(json.dumps(told))
    settings.HOLDPOINT_MCP_SERVERS = str(file)
    with pytest.raises(ImproperlyConfigured, match="^HOLDPOINT_MCP_SERVERS: ") as caught:
        servers.check()
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path, settings: Any) -> None:
    settings.HOLDPOINT_MCP_SERVERS = str(tmp_path / "none.json")
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        servers.check()
    (tmp_path / "bad.json").write_text("{")
    settings.HOLDPOINT_MCP_SERVERS = str(tmp_path / "bad.json")
    with pytest.raises(ImproperlyConfigured, match="is no JSON"):
        servers.check()


def test_without_the_package_it_says_what_to_install(
    declare: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(crm=COMMAND)
    servers.check()
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'holdpoint\[mcp\]'"):
        servers.check()


GIVEN = {"type": "object", "properties": {}}


class TestOffers:
    @pytest.mark.parametrize(
        ("remote", "name"), [("add-note", "mcp_crm_add_note"), ("Files/Read.All", "mcp_crm_files_read_all")]
    )
    def test_names(self, remote: str, name: str) -> None:
        assert local_name("crm", remote) == name

    @pytest.mark.parametrize(
        ("remote", "given", "gives", "said"),
        [
            ("a b", GIVEN, None, "other characters"),
            ("--", GIVEN, None, "too long or says nothing"),
            ("a" * 100, GIVEN, None, "too long or says nothing"),
            ("a", {"type": "string"}, None, "no object"),
            ("a", {"type": "object", "properties": 7}, None, "schema of its arguments cannot be used"),
            ("a", GIVEN, {"$ref": "https://example.com/s"}, "schema of its result cannot be used"),
            ("a", {"type": "object", "description": "a" * 70_000}, None, "more than"),
            ("a", {"type": "object", "const": float("nan")}, None, ""),
        ],
    )
    def test_what_nobody_can_sign(self, remote: str, given: Any, gives: Any, said: str) -> None:
        assert offer("crm", remote, None, None, given, gives, {}).problem
        assert said in offer("crm", remote, None, None, given, gives, {}).problem
