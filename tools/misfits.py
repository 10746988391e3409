"""Results that did not fit the contract of their tool: a row for each, counted by contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.db.models import Count, Max


class Misfit(models.Model):
    """That one call gave a result which its contract does not allow. Rows are only added."""

    call_id = models.CharField(primary_key=True, max_length=32)
    run_id = models.CharField(max_length=32)
    tool = models.CharField(max_length=64)
    version = models.PositiveIntegerField(help_text="The tool's version.")
    contract = models.CharField(max_length=64, help_text="The digest of the contract.")
    at = models.DateTimeField()
    problem = models.TextField(help_text="Where it did not fit, without the values.")

    class Meta:
        indexes = [models.Index(fields=["tool", "contract", "at"], name="misfit_of_contract")]

    def __str__(self) -> str:
        return f"{self.call_id} ({self.tool} {self.version})"


#: The columns that are written with the failure of a call.
COLUMNS = ("call_id", "run_id", "tool", "version", "contract", "at", "problem")


@dataclass(frozen=True)
class Misfits:
    """How many results did not fit one contract, and when the last one came."""

    count: int
    last_at: datetime


#: By tool and contract digest.
Counted = Mapping[tuple[str, str], Misfits]


def of_tools(*tools: str) -> Counted:
    """The misfits by tool and contract digest, of these tools or of all; one statement."""
    rows = Misfit.objects.filter(tool__in=tools) if tools else Misfit.objects.all()
    counted = rows.values_list("tool", "contract").annotate(count=Count("pk"), last=Max("at")).order_by()
    return {(tool, contract): Misfits(count, last) for tool, contract, count, last in counted}
