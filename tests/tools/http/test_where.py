"""Where requests may go: judged by a socket that sees every connection, whatever address it was meant for."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import urllib.request
from typing import Any

import pytest

from tests.tools.http import conftest
from tests.tools.http.conftest import API, FILES, Judge, Make, Names, Server, real_connect
from tools.http import Answered, Api, NotAllowed, NotReached
from tools.http.addresses import refusal
from tools.signature import ContractError


def words(text: str) -> list[str]:
    return text.split()


#: What may never be reached, as a host in a URL.
FORBIDDEN = words("""
127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.254 127.1 127.0.1 2130706433 0x7f000001 0x7f.0x0.0x0.0x1
017700000001 0177.0.0.1 0 0.0.0.0 0.1.2.3 localhost LOCALHOST
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 3232235521 0xc0a80001
100.64.0.1 100.127.255.255 100.100.100.200
169.254.169.254 169.254.170.2 169.254.0.1 2852039166 0xa9fea9fe 0251.0376.0251.0376 168.63.129.16
192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
[::] [::1] [0:0:0:0:0:0:0:1] [fe80::1] [febf::1] [fec0::1] [fc00::1] [fd00::1] [fd00:ec2::254] [ff02::1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:10.0.0.1] [::ffff:169.254.169.254] [::ffff:8.8.8.8]
[::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::8.8.8.8] [64:ff9b:1::1]
[2002:7f00:1::] [2002:0808:0808::1] [2001::1] [2001:0:4136:e378:8000:63bf:3fff:fdd2] [2001:db8::1]
[2001:10::1] [2001:20::1] [3fff::1] [2606:4700::5efe:127.0.0.1] [2606:4700::200:5efe:10.0.0.1]
[100::1] [5f00::1] [4000::1]
""")
ALLOWED = words("1.1.1.1 8.8.8.8 93.184.216.34 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.169.0.1") + [
    "[2606:4700:4700::1111]",
    "[2a00:1450:4001:80b::200e]",
]

#: This machine, as the resolvers of operating systems read it.
HERE = words("127.0.0.1 127.1 2130706433 0x7f.1 localhost 0.0.0.0")


@pytest.fixture
def meant(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every connection of this process goes to the judge; what it was meant for is kept here."""
    kept: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        kept.append(address)
        real_connect(("127.0.0.1", judge.port)).close()
        raise ConnectionRefusedError("the judge took it")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return kept


def test_the_corpus_is_large_enough() -> None:
    assert len(set(FORBIDDEN)) >= 60


@pytest.mark.parametrize("host", ALLOWED)
def test_the_judge_sees_what_may_be_reached(host: str, judge: Judge, meant: list[Any]) -> None:
    with pytest.raises(NotReached):
        Api(f"https://{host}").get("/")
    assert judge.count() == 1
    assert [ipaddress.ip_address(address[0]) for address in meant] == [ipaddress.ip_address(host.strip("[]"))]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_nothing_goes_where_it_may_not(host: str, judge: Judge, meant: list[Any]) -> None:
    with pytest.raises(NotAllowed, match="may not be reached"):
        Api(f"https://{host}").get("/")
    assert (judge.count(), meant) == (0, [])


@pytest.mark.parametrize("host", [host for host in FORBIDDEN if host[0] in "[0123456789"])
def test_nor_when_a_name_leads_there(host: str, judge: Judge, meant: list[Any], names: Names) -> None:
    names["evil.example.test"] = [[host.strip("[]")]]
    with pytest.raises(NotAllowed, match="may not be reached"):
        Api("https://evil.example.test").get("/")
    assert (judge.count(), meant) == (0, [])


@pytest.mark.parametrize("host", FORBIDDEN)
def test_nor_when_a_redirect_leads_there(
    host: str, plain: Server, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        if address[1] == plain.port:
            return conftest._connect(self, address)
        kept.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    api = Api(plain.url(), also=[f"https://{host}"])
    with pytest.raises(NotAllowed, match="may not be reached"):
        api.get("/moved/302", params={"to": f"https://{host}/"})
    assert (len(plain.seen()), kept) == (1, [])


@pytest.mark.parametrize("host", HERE)
def test_a_client_without_these_rules_reaches_the_judge(host: str, judge: Judge) -> None:
    """The control: without patches, as the other corpus tests would show if the rules were not there."""
    with contextlib.suppress(OSError):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(f"http://{host}:{judge.port}/", timeout=0.2)
    assert judge.saw_one()


@pytest.mark.parametrize("host", HERE)
def test_and_with_them_it_does_not(host: str, judge: Judge) -> None:
    with pytest.raises(NotAllowed):
        Api(f"https://{host}:{judge.port}").get("/")
    assert judge.count() == 0


class TestNamedPrivateHosts:
    @pytest.mark.parametrize(
        "address", ["10.0.0.1", "127.0.0.1", "100.64.0.1", "192.168.0.1", "fd12::1", "::1"]
    )
    def test_they_may_be_private(self, address: str) -> None:
        assert refusal(ipaddress.ip_address(address), private=True) == ""

    @pytest.mark.parametrize(
        "address",
        words(
            "0.0.0.0 169.254.169.254 168.63.129.16 100.100.100.200 192.0.0.192 224.0.0.1 255.255.255.255 :: "
            "fe80::1 fd00:ec2::254 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::"
        ),
    )
    def test_and_never_these(self, address: str) -> None:
        assert refusal(ipaddress.ip_address(address), private=True)

    @pytest.mark.parametrize("named", ["other.example.test", API, f"{API}:1", f"x{API}", "*"])
    def test_they_are_named_exactly(self, named: str, plain: Server, settings: Any) -> None:
        settings.HOLDPOINT_PRIVATE_HOSTS = [named]
        with pytest.raises(NotAllowed):
            Api(plain.url()).get("/ok")
        assert plain.seen("connection") == []

    def test_none_is_named_by_default(self, settings: Any) -> None:
        assert settings.HOLDPOINT_PRIVATE_HOSTS == []

    def test_http_is_for_them_alone(self, meant: list[Any]) -> None:
        with pytest.raises(NotAllowed, match="not https"):
            Api("http://1.1.1.1").get("/")
        assert meant == []


class TestNamesThatChange:
    """A resolver that says one address when it is asked first, and another the next time."""

    PUBLIC = "93.184.216.34"

    @pytest.fixture
    def reached(self, safe: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The public address stands for the server; all others are only kept."""
        kept: list[str] = []

        def connect(myself: socket.socket, address: Any) -> None:
            kept.append(address[0])
            if address[0] != self.PUBLIC:
                raise ConnectionRefusedError
            conftest._connect(myself, ("127.0.0.1", safe.port))

        monkeypatch.setattr(socket.socket, "connect", connect)
        return kept

    @pytest.fixture
    def public(self, settings: Any, safe: Server) -> None:
        """Nothing private may be reached."""
        settings.HOLDPOINT_PRIVATE_HOSTS = []

    def test_the_address_that_was_checked_is_the_one_that_is_called(
        self, safe_api: Make, reached: list[str], public: None, names: Names
    ) -> None:
        names[API] = [[self.PUBLIC], ["127.0.0.1"]]
        assert safe_api().get("/ok").json() == {"ok": True}
        assert reached == [self.PUBLIC]
        assert names[API] == [["127.0.0.1"]], "it was resolved once"

    def test_the_next_request_is_refused(
        self, safe_api: Make, reached: list[str], public: None, names: Names
    ) -> None:
        names[API] = [[self.PUBLIC], ["127.0.0.1"]]
        safe_api().get("/ok")
        with pytest.raises(NotAllowed, match=r"127\.0\.0\.1"):
            safe_api().get("/ok")
        assert reached == [self.PUBLIC]

    def test_so_is_a_redirect_to_the_same_name(
        self, safe_api: Make, reached: list[str], public: None, names: Names, safe: Server
    ) -> None:
        names[API] = [[self.PUBLIC], ["10.0.0.1"]]
        with pytest.raises(NotAllowed, match=r"10\.0\.0\.1"):
            safe_api().get("/moved/302")
        assert reached == [self.PUBLIC]
        assert safe.paths() == ["GET /moved/302"]

    def test_and_a_name_that_is_in_both_places(
        self, safe_api: Make, reached: list[str], public: None, names: Names
    ) -> None:
        names[API] = [[self.PUBLIC, "127.0.0.1"]]
        with pytest.raises(NotAllowed):
            safe_api().get("/ok")
        assert reached == []

    def test_where_one_address_does_not_take_it_the_next_does(
        self, safe_api: Make, reached: list[str], public: None, names: Names, safe: Server
    ) -> None:
        names[API] = [["1.1.1.1", self.PUBLIC]]
        safe_api().post("/ok")
        assert reached == ["1.1.1.1", self.PUBLIC]
        assert safe.paths() == ["POST /ok"]


class TestAllowed:
    def test_only_what_is_named(self, safe_api: Make, safe: Server) -> None:
        api = safe_api()
        for url in (safe.url(FILES), f"https://{API}", "https://1.1.1.1"):
            with pytest.raises(NotAllowed, match="not among"):
                api.get(f"{url}/ok")
        assert safe.seen("connection") == []
        safe_api(also=[safe.url(FILES)]).get(f"{safe.url(FILES)}/ok")
        assert safe.paths() == ["GET /ok"]

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://api.example.test",
            "file:///etc/passwd",
            "gopher://127.0.0.1",
            "//api.example.test",
            "https://",
            "https://api.example.test.",
            "https://user:word@api.example.test",
            "https://api.example.test@evil.test",
            "https://api.example.test\\@evil.test",
            "https://api.example.test\t.evil.test",
            "https://api.example.test:0",
            "https://api.example.test:99999",
            "https://[::1",
            "https://[1.2.3.4]",
            "https://äpi.example.test",
            "https://api..example.test",
            "https://-api.example.test",
            "https://api.example.test/a/../b",
            "https://api.example.test/a/%2e%2E/b",
            "https://api.example.test/?q",
            "https://api.example.test/#f",
        ],
    )
    def test_a_base_is_a_plain_url(self, url: str) -> None:
        with pytest.raises(ContractError):
            Api(url)

    @pytest.mark.parametrize("also", ["https://files.example.test/path", "https://files.example.test/?q=1"])
    def test_what_else_may_be_called_is_an_origin(self, also: str) -> None:
        with pytest.raises(ContractError):
            Api("https://api.example.test", also=[also])

    def test_no_proxy_of_the_environment_is_used(
        self, api: Api, plain: Server, judge: Judge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{judge.port}")
        assert api.get("/ok").status_code == 200
        assert (judge.count(), plain.paths()) == (0, ["GET /ok"])
        others = urllib.request.build_opener(urllib.request.ProxyHandler())  # the control
        with pytest.raises(OSError):
            others.open(f"{plain.url()}/ok", timeout=0.2)
        assert judge.saw_one()


class TestPaths:
    @pytest.mark.parametrize(
        ("part", "sent"),
        [
            ("a b", "a%20b"),
            ("a/b", "a%2Fb"),
            ("?x#y", "%3Fx%23y"),
            ("ä", "%C3%A4"),
            (7, "7"),
            ("..%2f", "..%252f"),
        ],
    )
    def test_a_part_stays_one_piece(self, api: Api, plain: Server, part: object, sent: str) -> None:
        api.get("/ok/{}/lines", part)
        assert plain.paths() == [f"GET /ok/{sent}/lines"]

    @pytest.mark.parametrize("part", ["..", ".", "", None, 1.5])
    def test_these_are_no_parts(self, api: Api, plain: Server, part: object) -> None:
        with pytest.raises(NotAllowed):
            api.get("/ok/{}/lines", part)
        assert plain.seen() == []

    @pytest.mark.parametrize(
        "path", ["/ok/../admin", "/ok/%2e%2e/x", "ok", "/ok?x=1", "/o k", "/ok\r\nX: y", "/{}"]
    )
    def test_these_are_no_paths(self, api: Api, plain: Server, path: str) -> None:
        with pytest.raises(NotAllowed):
            api.get(path)
        assert plain.seen() == []

    def test_what_is_searched_for_is_quoted(self, api: Api, plain: Server) -> None:
        api.get("/ok", params={"q": "a&b=c", "n": 3})
        assert plain.paths() == ["GET /ok?q=a%26b%3Dc&n=3"]


class TestRedirects:
    def test_it_works(self, api: Api, plain: Server) -> None:
        assert api.get("/around/3").json() == {"ok": True}
        assert plain.paths() == ["GET /around/3", "GET /around/2", "GET /around/1", "GET /ok"]

    def test_three_at_most(self, api: Api, plain: Server) -> None:
        with pytest.raises(Exception, match="more than 3 redirects"):
            api.get("/around/9")
        assert len(plain.seen()) == 4

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_never_for_what_may_change_something(
        self, api: Api, plain: Server, method: str, code: int
    ) -> None:
        with pytest.raises(Answered):
            api.send(method, f"/moved/{code}", json={"a": 1})
        assert plain.paths() == [f"{method} /moved/{code}"]

    @pytest.mark.parametrize(
        "to",
        [
            "https://evil.example.test/",
            "http://api.example.test/",
            "//evil.example.test/",
            "file:///etc/passwd",
            "https://api.example.test@evil.test/",
            "\\\\evil.test",
            "/ok/%2e%2e/x",
        ],
    )
    def test_not_to_anywhere(self, api: Api, plain: Server, to: str) -> None:
        with pytest.raises(NotAllowed):
            api.get("/moved/302", params={"to": to})
        assert len(plain.seen()) == 1

    def test_credentials_stay_with_their_origin(self, safe_api: Make, safe: Server) -> None:
        mine = {"Authorization": "Bearer x", "X-Api-Key": "y", "Cookie": "z", "X-Other": "w"}
        api = safe_api(also=[safe.url(FILES)], headers={"X-Always": "v"})
        api.get("/moved/302", params={"to": f"{safe.url(FILES)}/ok"}, headers=mine)
        api.get("/moved/302", params={"to": "/ok"}, headers=mine)
        api.get(f"{safe.url(FILES)}/ok", headers=mine)
        names = {name.lower() for name in (*mine, "X-Always")}
        told = [names & set(line["headers"]) for line in safe.seen()]
        assert told == [names, set(), names, names, set()]
