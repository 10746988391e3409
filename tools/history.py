"""History rows name their actor: a person, a worker or a caretaker, not only a signed-in user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords
from simple_history.signals import pre_create_historical_record

from tools import actors


class ActorStamp(models.Model):
    """The extra column of every history table."""

    actor = models.CharField(max_length=160, default=actors.SYSTEM)

    class Meta:
        abstract = True


class StampedRecords(HistoricalRecords):
    """History whose rows are written far more often than they are read: few indexes, and numbers enough."""

    def get_extra_fields(self, model: type[models.Model], fields: Any) -> dict[str, Any]:
        """Without an index on the user, which is empty wherever a worker acted."""
        extra: dict[str, Any] = super().get_extra_fields(model, fields)
        extra["history_user"].db_index = False
        return extra

    def get_meta_options(self, model: type[models.Model]) -> dict[str, Any]:
        """With an index on the rows that name a user: whoever is deleted is taken out of them."""
        by_user = models.Index(
            fields=["history_user"],
            name=f"{model._meta.model_name}_history_by",
            condition=Q(history_user__isnull=False),
        )
        return {**super().get_meta_options(model), "indexes": [by_user]}


def stamped_history(*excluded: str, unindexed: Sequence[str] = ()) -> HistoricalRecords:
    """History with an actor and an uncut reason, without the `excluded` fields and without the indexes that
    the `unindexed` ones would have.
    """
    return StampedRecords(
        bases=[ActorStamp],
        excluded_fields=list(excluded),
        no_db_index=list(unindexed),
        # Two rows a step: 32 bits would last some months.
        history_id_field=models.BigAutoField(),
        history_change_reason_field=models.TextField(null=True),
    )


def stamp_actor(sender: Any, history_instance: Any = None, **kwargs: Any) -> None:
    """Write the current actor on a history row that is about to be saved."""
    if isinstance(history_instance, ActorStamp):
        history_instance.actor = actors.current()


pre_create_historical_record.connect(stamp_actor, dispatch_uid="tools.history.stamp_actor")
