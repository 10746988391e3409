"""Every error has a class, found by type and status and by nothing else."""

from __future__ import annotations

import errno
import socket
import ssl
import subprocess
from email.message import Message
from typing import Any
from urllib.error import HTTPError, URLError

import httpx
import pydantic
import pytest
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import IntegrityError, OperationalError

from tools import failures
from tools.contract import InvalidArguments, InvalidOutput, ToolExit
from tools.failures import Failure, FailureClass, Proof, classify, seconds_until


def answer(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://bank.example/refunds")
    response = httpx.Response(status, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return httpx.HTTPStatusError("permission denied, rate limit, timeout", request=request, response=response)


def misfit() -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("x")
    return caught.value


class TestClassify:
    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (failures.Refused("no"), "refused"),
            (failures.InvalidData("no"), "invalid_data"),
            (failures.PermissionNeeded("no"), "permission"),
            (failures.StaleData("no"), "stale_data"),
            (failures.NeedsInput("no"), "needs_input"),
            (failures.LowConfidence("no"), "low_confidence"),
            (failures.BudgetUsedUp("no"), "budget"),
            (failures.Transient("no"), "transient"),
            (failures.RateLimited("no"), "rate_limited"),
            (failures.UnknownOutcome("no"), "unknown_outcome"),
            (failures.Fatal("no"), "fatal"),
            (InvalidArguments("t", ["a is missing"]), "invalid_data"),
            (InvalidOutput("t", ["a is missing"]), "fatal"),
            (ToolExit("t"), "fatal"),
            (TimeoutError(), "transient"),
            (ConnectionResetError(), "transient"),
            (BrokenPipeError(), "transient"),
            (OSError(errno.EHOSTUNREACH, "no route"), "transient"),
            (OSError(errno.ENOSPC, "disk full"), "fatal"),
            (PermissionError(errno.EACCES, "no"), "permission"),
            (FileNotFoundError(errno.ENOENT, "no"), "invalid_data"),
            (socket.gaierror(-3, "try again"), "transient"),
            (ssl.SSLError(1, "eof"), "transient"),
            (ssl.SSLCertVerificationError(1, "expired"), "fatal"),
            (subprocess.TimeoutExpired("x", 3), "transient"),
            (subprocess.CalledProcessError(1, "x"), "fatal"),
            (httpx.ReadTimeout("x"), "transient"),
            (httpx.ConnectError("x"), "transient"),
            (httpx.RemoteProtocolError("x"), "transient"),
            (httpx.UnsupportedProtocol("x"), "invalid_data"),
            (URLError("timeout"), "fatal"),
            (misfit(), "invalid_data"),
            (ObjectDoesNotExist(), "invalid_data"),
            (PermissionDenied(), "permission"),
            (IntegrityError(), "invalid_data"),
            (OperationalError(), "transient"),
            (KeyError("timeout"), "fatal"),
            (ValueError("429 too many requests"), "fatal"),
            (RecursionError(), "fatal"),
        ],
    )
    def test_by_type(self, error: Exception, kind: str) -> None:
        assert classify(error).kind == kind

    @pytest.mark.parametrize(
        ("status", "kind", "proof"),
        [
            (302, "fatal", "none"),
            (400, "invalid_data", "not_accepted"),
            (401, "permission", "not_accepted"),
            (403, "permission", "not_accepted"),
            (404, "invalid_data", "not_accepted"),
            (408, "transient", "none"),
            (409, "stale_data", "none"),
            (412, "stale_data", "not_accepted"),
            (418, "invalid_data", "not_accepted"),
            (422, "invalid_data", "not_accepted"),
            (425, "transient", "not_accepted"),
            (429, "rate_limited", "not_accepted"),
            (500, "transient", "none"),
            (501, "fatal", "none"),
            (503, "transient", "none"),
            (599, "transient", "none"),
        ],
    )
    def test_by_status(self, status: int, kind: str, proof: str) -> None:
        failure = classify(answer(status))
        assert (failure.kind, failure.proof) == (kind, proof)

    @pytest.mark.parametrize(
        "error",
        [httpx.ConnectError("x"), httpx.PoolTimeout("x"), ConnectionRefusedError()],
    )
    def test_what_was_never_reached_has_done_nothing(self, error: Exception) -> None:
        assert classify(error).proof is Proof.NOT_ACCEPTED

    @pytest.mark.parametrize("error", [httpx.ReadTimeout("x"), httpx.WriteError("x"), ConnectionResetError()])
    def test_what_was_cut_off_may_have_happened(self, error: Exception) -> None:
        assert classify(error).proof is Proof.NONE

    def test_the_other_libraries_put_the_status_elsewhere(self) -> None:
        class StatusError(Exception):
            status_code = 429

        assert classify(StatusError()).kind == "rate_limited"
        assert classify(HTTPError("https://x.example", 403, "no", Message(), None)).kind == "permission"

    def test_retry_after_is_read(self) -> None:
        assert classify(answer(429, Retry_After="7")).retry_after == 7
        assert classify(answer(503, Retry_After="7")).kind == "rate_limited"
        assert classify(failures.RateLimited("slow down", retry_after=2.5)).retry_after == 2.5

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("120", 120),
            ("-5", 0),
            ("Fri, 31 Dec 1999 23:59:59 GMT", 10),
            ("soon", None),
            ("nan", None),
            ("inf", None),
            ("", None),
        ],
    )
    def test_retry_after_in_seconds_or_as_a_date(self, header: str, seconds: float | None) -> None:
        assert seconds_until(header, now=946684789.0) == seconds

    def test_users_register_their_own_and_the_nearest_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class BankError(Exception):
            pass

        class BankClosed(BankError):
            pass

        monkeypatch.setattr(failures, "_REGISTERED", {})
        failures.register(BankError, FailureClass.TRANSIENT)
        failures.register(BankClosed, FailureClass.REFUSED, Proof.DECLARED)
        assert classify(BankError("x")) == Failure(FailureClass.TRANSIENT, "x")
        assert classify(BankClosed("x")) == Failure(FailureClass.REFUSED, "x", None, Proof.DECLARED)

    def test_what_is_registered_stays_what_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class BankError(Exception):
            pass

        monkeypatch.setattr(failures, "_REGISTERED", {})
        failures.register(BankError, FailureClass.TRANSIENT)
        failures.register(BankError, FailureClass.TRANSIENT)
        with pytest.raises(ValueError, match="BankError is registered already"):
            failures.register(BankError, FailureClass.FATAL)
        for much in (BaseException, Exception, int, "x"):
            with pytest.raises(ValueError, match="cannot be registered"):
                failures.register(much, FailureClass.FATAL)  # type: ignore[arg-type]

    def test_an_error_without_words_still_says_something(self) -> None:
        assert classify(TimeoutError()).message == "TimeoutError: TimeoutError"
        assert str(failures.StaleData()) == "The world moved on since the facts were read; nothing was done."


class Charge(Exception):
    """As client libraries of payment providers have it."""

    def __init__(self, code: object, status: int = 402) -> None:
        super().__init__("declined")
        self.error = {"code": code}
        self.status_code = status


class TestByCodeAndStatus:
    @pytest.fixture(autouse=True)
    def own_tables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for table in ("_REGISTERED", "_STATUSES", "_CODES"):
            monkeypatch.setattr(failures, table, {})

    def test_a_providers_code_says_more_than_its_status(self) -> None:
        proven = (FailureClass.REFUSED, Proof.DECLARED)
        failures.register_code(
            Charge, "error.code", {"card_declined": proven, "try_later": FailureClass.TRANSIENT}
        )
        declined = classify(Charge("card_declined"))
        assert (declined.kind, declined.proof, declined.code) == ("refused", "declared", "card_declined")
        assert classify(Charge("try_later")).kind == "transient"

    def test_an_unknown_code_is_kept_and_leaves_the_class_to_the_status(self) -> None:
        failures.register_code(Charge, "error.code", {})
        failure = classify(Charge("weird"))
        assert (failure.kind, failure.code) == ("permission", "weird")
        assert classify(Charge(4711)).code == "4711"

    @pytest.mark.parametrize("code", [None, ["x"], True, {"a": 1}, object()])
    def test_a_code_of_another_shape_is_none(self, code: object) -> None:
        failures.register_code(Charge, "error.code", {})
        assert classify(Charge(code)).code == ""

    def test_a_path_that_leads_nowhere(self) -> None:
        failures.register_code(Charge, "response.body.code", {})
        assert classify(Charge("x")) == Failure(
            FailureClass.PERMISSION, "HTTP 402: declined", proof=Proof.NOT_ACCEPTED
        )

    def test_a_status_for_all_and_for_one_client(self) -> None:
        failures.register_status(404, FailureClass.STALE_DATA)
        failures.register_status(404, FailureClass.TRANSIENT, Proof.NOT_ACCEPTED, for_error=Charge)
        assert classify(answer(404)).kind == "stale_data"
        ours = classify(Charge("x", 404))
        assert (ours.kind, ours.proof) == ("transient", "not_accepted")

    @pytest.mark.parametrize(
        ("register", "said"),
        [
            (lambda: failures.register_status(42, FailureClass.FATAL), "no HTTP status"),
            (lambda: failures.register_status(404, FailureClass.TRANSIENT), "status 404 is registered"),
            (
                lambda: failures.register_status(404, FailureClass.FATAL, for_error=Exception),
                "cannot be registered",
            ),
            (lambda: failures.register_code(Charge, "a b", {}), "no path"),
            (
                lambda: failures.register_code(Charge, "code", {"x": FailureClass.FATAL}),
                "Charge is registered",
            ),
            (lambda: failures.register_code(Charge, "c", {"x": "odd"}), "odd"),  # type: ignore[dict-item]
        ],
    )
    def test_nonsense_is_refused(self, register: Any, said: str) -> None:
        failures.register_status(404, FailureClass.FATAL)
        failures.register_code(Charge, "code", {})
        with pytest.raises(ValueError, match=said):
            register()


class Hostile(Exception):
    """Breaks wherever it is touched."""

    def __str__(self) -> str:
        raise SystemExit("from __str__")

    def __getattr__(self, name: str) -> Any:
        raise GeneratorExit(name)


class TestWhatCannotBeKept:
    def test_an_error_that_breaks_when_it_is_read(self) -> None:
        assert classify(Hostile()) == Failure(FailureClass.FATAL, "Hostile: Hostile")

    def test_a_tool_error_with_nonsense_in_it(self) -> None:
        class Odd(failures.ToolError):
            kind = "odd"  # type: ignore[assignment]
            proof = 7  # type: ignore[assignment]

        failure = classify(Odd("x", retry_after="soon"))  # type: ignore[arg-type]
        assert failure == Failure(FailureClass.FATAL, "x")

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            (float("nan"), None),
            (float("inf"), failures.LONGEST_WAIT),
            (float("-inf"), 0.0),
            (-1, 0.0),
            (1e300, failures.LONGEST_WAIT),
            (10**400, failures.LONGEST_WAIT),
            (True, None),
            ("5", None),
            (2.5, 2.5),
        ],
    )
    def test_a_wait_is_a_number_of_seconds(self, given: Any, kept: float | None) -> None:
        assert Failure(FailureClass.RATE_LIMITED, "x", given).retry_after == kept

    def test_a_message_is_text_that_a_database_takes(self) -> None:
        failure = Failure(FailureClass.FATAL, "a\0b\ud800c" + "x" * 10_000, code="\0" * 100)
        assert failure.message.startswith("a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}cx")
        assert (len(failure.message), len(failure.code)) == (4000, 64)

    @pytest.mark.parametrize(
        "header", ["Mon, 99 Foo", "9" * 5000, "1e400", "\0", "Thu, 01 Jan 99999 00:00:00"]
    )
    def test_a_wait_that_no_header_should_name(self, header: str) -> None:
        wait = seconds_until(header, now=0.0)
        assert wait is None or 0 <= wait < float("inf")
