"""The tutorial, told by a machine: run in an installation of its own that holds the tutorial's app.

Prints one JSON object: how the runs ended, what the journals say, and what the bank has booked.
"""

import json
import os
import sys

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("check", fail_level="WARNING")

    from django.contrib.auth.models import User
    from invoices.tools import booked

    from approvals import queries, services
    from ops.demo_people import ensure_demo_people
    from runs import engine, journal
    from runs.models import Run
    from runs.services import NotPossible, activate_version, start_run

    ensure_demo_people(django.conf.settings.HOLDPOINT_DATA)

    def start(number: str) -> str:
        return start_run("invoices.pay", {"number": number, "why": "It has arrived"}, actor="user:omar").id

    def decide(username: str, verdict: str, reason: str = "") -> None:
        person = User.objects.get(username=username)
        asked = queries.queue_for(person).get()
        services.decide(asked.pk, by=person, verdict=verdict, digest=asked.digest, reason=reason)

    try:
        raise AssertionError(f"{start('17')} was started by a version that nobody activated")
    except NotPossible:
        activate_version("invoices.pay", 1, actor="user:omar", reason="The first invoices are due")
    small = start("17")
    engine.advance(small, "first-worker")
    decide("ana", "approve")
    engine.advance(small, "second-worker")
    large = start("18")
    engine.advance(large, "first-worker")
    decide("ana", "approve")
    engine.advance(large, "first-worker")
    decide("ben", "reject", "Not ordered by us")
    engine.advance(large, "first-worker")
    again = start("17")
    engine.advance(again, "first-worker")

    told = {}
    for name, run_id in (("small", small), ("large", large), ("again", again)):
        run = Run.objects.get(pk=run_id)
        entries = list(run.journal.order_by("seq"))
        told[name] = {
            "state": run.state,
            "output": run.output,
            "sentences": [entry.sentence for entry in entries],
            "breaks": len(list(journal.verify(run, entries))),
        }
    json.dump({"runs": told, "bank": booked()}, sys.stdout)


if __name__ == "__main__":
    main()
