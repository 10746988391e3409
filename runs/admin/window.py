"""A window of the admin on rows whose contents are not for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from django.db.models import Model
from django.http import HttpRequest

from tools.window import Window

TECHNICAL = "runs.view_technical"


class Classed(Window):
    """A window whose `technical` columns are for those alone who may see arguments and results."""

    technical: ClassVar[Sequence[str]] = ()

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Every column, those with content as readable text, without those not meant for this reader."""
        seen = request.user.has_perm(TECHNICAL)
        fields = [field for field in self.opts.fields if not field.generated]
        names = [field.name for field in fields if field.name not in self.technical]
        extra = [name for name in self.readonly_fields if name not in names]
        hidden = [f"{name}_shown" for name in self.technical]
        return names + [str(name) for name in extra if seen or name not in hidden]
