"""The admin: windows on what runs keep and exchange, and on what other systems were answered."""

from __future__ import annotations

from django.contrib import admin

from runs.admin.window import Classed
from runs.models import Anchor, Artifact, Blob, Errand, KeptAnswer, Message
from tools.window import OfTheNewest


@admin.register(Message)
class MessageAdmin(Classed):
    """Every message to a run."""

    list_display = ["id", "run_id", "name", "sender", "sent_at", "taken_at"]
    search_fields = ["id", "run__id", "name", "key"]
    ordering = ["-id"]
    technical = ["payload"]


@admin.register(Artifact)
class ArtifactAdmin(Classed):
    """Every version of every artifact; its content is on the page of its run."""

    list_display = ["id", "run_id", "name", "version", "media_type", "size", "created_at"]
    search_fields = ["id", "run__id", "name", "digest"]
    ordering = ["-id"]


@admin.register(Blob)
class BlobAdmin(Classed):
    """What is kept by its digest, without what is in it."""

    list_display = ["digest", "size", "created_at"]
    search_fields = ["digest__exact"]
    ordering = ["digest"]
    technical = ["content"]


@admin.register(Errand)
class ErrandAdmin(Classed):
    """Every tool call that runs on another queue than its run."""

    list_display = ["id", "run_id", "queue", "state", "lease_owner", "lease_until", "created_at"]
    list_filter = ["state", ("queue", OfTheNewest)]
    search_fields = ["id", "run_id", "step_id"]
    ordering = ["-id"]
    technical = ["outcome"]


@admin.register(KeptAnswer)
class KeptAnswerAdmin(Classed):
    """What requests with an Idempotency-Key were answered."""

    list_display = ["actor", "key", "status", "created_at"]
    search_fields = ["actor", "key"]
    ordering = ["-created_at"]
    technical = ["body"]


@admin.register(Anchor)
class AnchorAdmin(Classed):
    """Every signed list of the journals' heads."""

    list_display = ["name", "made_at", "up_to", "runs", "digest"]
    search_fields = ["name", "digest"]
    ordering = ["-made_at"]
