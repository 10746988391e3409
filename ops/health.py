"""Whether everything that a run needs is there."""

import logging

from celery import current_app
from django.db import DatabaseError, connection

from runs import workflow
from runs.crew.workers import anyone_listens_to
from tools import registry

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
    broker = current_app.connection_for_write()
    try:
        # The transport asks once; the connection around it would try again for seconds.
        broker.transport.close_connection(broker.transport.establish_connection())
    except (OSError, *broker.connection_errors, *broker.channel_errors) as error:
        logger.warning("The broker does not answer: %s", error)
        return False
    return True


def worker_beats() -> bool:
    """Whether a worker that takes runs has been heard of lately."""
    return anyone_listens_to("runs")


def queues() -> set[str]:
    """Every queue that a workflow or a tool of the installed apps names."""
    of_runs = {known.queue for known in workflow.all_workflows()}
    return of_runs | {known.queue for known in registry.all_tools() if known.queue}
