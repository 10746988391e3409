"""Windows on every row of runs for operators; Django looks for them here."""

from runs.admin import kept, runs, schedules, versions

__all__ = ["kept", "runs", "schedules", "versions"]
