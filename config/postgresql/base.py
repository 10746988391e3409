"""The database backend: what Django looks for in the module that ENGINE names."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import Connection
from psycopg_pool import ConnectionPool


class WarmPool(ConnectionPool[Connection[Any]]):
    """A pool that hands out the connection that was given back last.

    psycopg's own goes round all of them. A connection has prepared what it was used for and PostgreSQL has
    read its catalogues for it: one that has done neither takes ten times as long for the same turn. So a few
    are kept warm, and those that were only needed for a rush are closed after it.
    """

    def _get_ready_connection(self, timeout: float | None) -> Connection[Any] | None:
        # It takes from the left, and what is given back is put to the right.
        self._pool.rotate(1)
        return super()._get_ready_connection(timeout)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's, but for the pool."""

    @property
    def pool(self) -> WarmPool | None:
        """The pool of this process, made at its first use; None where none is asked for."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        pools: dict[str, WarmPool] = self._connection_pools  # type: ignore[attr-defined]
        if self.alias not in pools:
            made = WarmPool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,  # type: ignore[attr-defined]
                check=WarmPool.check_connection if self.settings_dict["CONN_HEALTH_CHECKS"] else None,
                **options,
            )
            # Of several threads that come here at once, the first one's pool is the pool.
            pools.setdefault(self.alias, made)
        return pools[self.alias]
