"""The admin: a window on approvals and decisions, and the desk where risk owners write policy versions."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from approvals import rulebook
from approvals.models import Approval, Decision, Policy
from runs import actors
from tools.window import History, OfTheNewest, Window


def _shown(value: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True))


@admin.register(Approval)
class ApprovalAdmin(History, Window):
    """What people were asked, and what became of it."""

    list_display = ["id", "title", "state", "risk", "policy", "expires_at", "decided_by"]
    list_filter = [
        "state",
        "risk",
        "effect",
        ("tool", OfTheNewest),
        ("workflow", OfTheNewest),
        "group",
        "created_at",
    ]
    search_fields = ["id__exact", "run__id__exact", "step_id__exact", "title", "digest__exact"]
    list_select_related = ["group"]
    exclude = ["arguments", "preview", "evidence", "facts"]
    readonly_fields = ["arguments_shown", "preview_shown", "evidence_shown", "facts_shown"]

    @admin.display(description="Arguments")
    def arguments_shown(self, approval: Approval) -> SafeString:
        return _shown(approval.arguments)

    @admin.display(description="Preview")
    def preview_shown(self, approval: Approval) -> SafeString:
        return _shown(approval.preview)

    @admin.display(description="Evidence")
    def evidence_shown(self, approval: Approval) -> SafeString:
        return _shown(approval.evidence)

    @admin.display(description="Facts")
    def facts_shown(self, approval: Approval) -> SafeString:
        return _shown(approval.facts)


@admin.register(Decision)
class DecisionAdmin(Window):
    """What each person said."""

    list_display = ["id", "actor", "verdict", "approval", "reason_code", "seconds", "created_at"]
    list_filter = ["verdict", "reason_code"]
    search_fields = ["id__exact", "actor", "approval__id__exact", "reason"]
    list_select_related = ["approval"]
    ordering = ["-id"]


class PolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """The terms of the next version."""

    class Meta:
        model = Policy
        fields = ["name", *rulebook.TERMS, "note"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["note"] = ""  # why this change, not why the one before

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if self.instance.pk is None and Policy.objects.filter(name=name).exists():
            raise ValidationError("There is a policy of this name already; change that one instead.")
        return name


@admin.register(Policy)
class PolicyAdmin(History, ModelAdmin):
    """Saving makes a new version, in force at once; the versions before it stay as they were."""

    form = PolicyForm
    list_display = ["ref", "tier", "order", "group", "quorum", "on_expiry", "active", "made_by", "created_at"]
    list_filter = ["active", "tier", "name"]
    search_fields = ["name", "purpose", "note"]
    list_select_related = ["group"]
    ordering = ["-active", "order", "name", "-version"]
    actions = ["put_in_force"]

    def get_readonly_fields(self, request: HttpRequest, obj: Policy | None = None) -> list[str]:
        return ["name", "version", "active", "made_by", "created_at"] if obj else []

    def has_change_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.active)

    def has_delete_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Policy, form: PolicyForm, change: bool) -> None:
        """The row that was opened stays; `obj` goes on as the new version."""
        terms = {term: getattr(obj, term) for term in rulebook.TERMS}
        actor = actors.user(request.user.get_username())
        new = rulebook.revise(obj.name, terms, actor=actor, note=obj.note)
        obj.pk = new.pk
        obj.refresh_from_db()

    @admin.action(description="Put this version in force", permissions=["change"])
    def put_in_force(self, request: HttpRequest, chosen: QuerySet[Policy]) -> None:
        versions = list(chosen[:2])
        if len(versions) != 1:
            self.message_user(request, "Choose exactly one version.", messages.ERROR)
            return
        actor = actors.user(request.user.get_username())
        try:
            now = rulebook.put_in_force(versions[0].pk, actor=actor)
        except ValidationError as error:
            self.message_user(request, f"It cannot stand: {' '.join(error.messages)}", messages.ERROR)
            return
        self.message_user(request, f"{now.ref} is in force.", messages.SUCCESS)
