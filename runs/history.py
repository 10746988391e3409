"""History rows name their actor: a person, a worker or a caretaker, not only a signed-in user."""

from __future__ import annotations

from typing import Any

from django.db import models
from simple_history.models import HistoricalRecords
from simple_history.signals import pre_create_historical_record

from runs import actors


class ActorStamp(models.Model):
    """The extra column of every history table."""

    actor = models.CharField(max_length=160, default=actors.SYSTEM)

    class Meta:
        abstract = True


def stamped_history(*excluded: str) -> HistoricalRecords:
    """History with an actor and an uncut reason, without the `excluded` fields."""
    return HistoricalRecords(
        bases=[ActorStamp],
        excluded_fields=list(excluded),
        history_change_reason_field=models.TextField(null=True),
    )


def stamp_actor(sender: Any, history_instance: Any = None, **kwargs: Any) -> None:
    """Write the current actor on a history row that is about to be saved."""
    if isinstance(history_instance, ActorStamp):
        history_instance.actor = actors.current()


pre_create_historical_record.connect(stamp_actor, dispatch_uid="runs.history.stamp_actor")
