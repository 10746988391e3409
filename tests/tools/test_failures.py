"""Every error has a class, found by type and status and by nothing else."""

from __future__ import annotations

import errno
import socket
import ssl
import subprocess
from email.message import Message
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

    def test_an_error_without_words_still_says_something(self) -> None:
        assert classify(TimeoutError()).message == "TimeoutError: TimeoutError"
        assert str(failures.StaleData()) == "The world moved on since the facts were read; nothing was done."
