"""Whether everything that a run needs is there."""

import logging

from celery import current_app
from django.db import DatabaseError, connection

from runs.workers import anyone_listens_to

logger = logging.getLogger(__name__)


def missing() -> list[str]:
    """What is not ready, of "database", "broker" and "worker"; empty when runs can go on."""
    checks = {"database": database_answers, "broker": broker_answers, "worker": worker_beats}
    absent = []
    for name, check in checks.items():
        try:
            well = check()
        except DatabaseError:
            logger.warning("The database does not answer", exc_info=True)
            well = False
        if not well:
            absent.append(name)
    return absent


def database_answers() -> bool:
    """Whether the database answers a query."""
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        return bool(cursor.fetchone())


def broker_answers() -> bool:
    """Whether the broker takes messages; waits no longer than the broker's own time limits."""
    try:
        with current_app.connection_for_write() as broker:
            broker.connect()
            client = getattr(broker.default_channel, "client", None)
            return client is None or bool(client.ping())
    except (OSError, *current_app.connection_for_write().connection_errors) as error:
        logger.warning("The broker does not answer: %s", error)
        return False


def worker_beats() -> bool:
    """Whether a worker that takes runs has been heard of lately."""
    return anyone_listens_to("runs")
