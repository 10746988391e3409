"""Who acts, as this app and those above it have always imported it: see tools.actors."""

from tools.actors import CARETAKER, SYSTEM, acting_as, current, plain_name, user, username_of

__all__ = ["CARETAKER", "SYSTEM", "acting_as", "current", "plain_name", "user", "username_of"]
