"""Links from the admin to the pages of runs."""

from __future__ import annotations

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString


def run_link(run_id: str) -> SafeString:
    """A link to the page of a run."""
    return format_html('<a href="{}">{}</a>', reverse("runs:run", args=[run_id]), run_id)
