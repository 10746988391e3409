"""The admin is a window: it shows every attempt and changes none."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.tools.test_tool_calls import in_doubt
from tools.clock import db_now
from tools.misfits import Misfit
from tools.models import ToolCall

pytestmark = pytest.mark.django_db
PAGE = "/admin/tools/toolcall/"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


class TestAdmin:
    def test_it_works(self, root: Client) -> None:
        call = in_doubt(note="<b>seen</b>")
        assert call.id in root.get(PAGE).content.decode()
        assert root.get(PAGE, {"q": call.step_id}).status_code == 200
        page = root.get(f"{PAGE}{call.id}/change/").content.decode()
        assert call.arguments_digest in page
        assert "<b>seen</b>" not in page

    def test_results_that_did_not_fit(self, root: Client) -> None:
        row = Misfit(call_id="call_1", tool="pay", version=1, contract="c", at=db_now(), problem="<i>a</i>")
        row.save()
        page = root.get("/admin/tools/misfit/", {"q": "call_1"}).content.decode()
        assert "call_1" in page and "<i>a</i>" not in page
        assert root.post("/admin/tools/misfit/call_1/change/", {"tool": "x"}).status_code == 403

    @pytest.mark.parametrize("path", ["add/", "{id}/delete/"])
    def test_nothing_is_added_or_deleted(self, root: Client, path: str) -> None:
        call = in_doubt()
        assert root.post(PAGE + path.format(id=call.id), {"post": "yes"}).status_code == 403
        assert ToolCall.objects.count() == 1

    def test_nothing_is_changed(self, root: Client) -> None:
        call = in_doubt()
        assert root.post(f"{PAGE}{call.id}/change/", {"note": "forged"}).status_code == 403
        assert ToolCall.objects.get().note == ""
