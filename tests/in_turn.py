"""Two transactions of PostgreSQL, of which the second waits for the first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connection, connections, transaction

from ops.launch.processes import wait_until

T = TypeVar("T")


def against(first: Callable[[], Any], second: Callable[[], T]) -> T:
    """What `second` came to. It waits for a lock of `first`, which is done in a transaction of another
    connection and committed only then.
    """
    begun, commit = threading.Event(), threading.Event()
    said: list[T] = []
    wrong: list[BaseException] = []

    def hold() -> None:
        with transaction.atomic():
            first()
            begun.set()
            assert commit.wait(20)

    def wait() -> None:
        said.append(second())

    def alone(act: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                act()
            except BaseException as error:
                wrong.append(error)
                begun.set()
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    holder = alone(hold)
    assert begun.wait(20)
    waiter = alone(wait)
    came = wait_until(_somebody_waits, 10)
    commit.set()
    holder.join(20)
    waiter.join(20)
    if wrong:
        raise wrong[0]
    assert came, "it did not wait for the other"
    return said[0]


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
            "current_database()"
        )
        return bool(cursor.fetchone()[0])
