"""History with an actor, as this app and those above it have always imported it: see tools.history."""

from tools.history import ActorStamp, StampedRecords, stamp_actor, stamped_history

__all__ = ["ActorStamp", "StampedRecords", "stamp_actor", "stamped_history"]
