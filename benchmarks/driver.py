"""Run as a script in the environment of a ``place``: takes the measures and prints each as a line of JSON."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import django

if __name__ == "__main__":
    django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from benchmarks.crew import Crew, prepare_people  # noqa: E402
from benchmarks.figures import MEASURES, QUICK, Bench, Size, vendor  # noqa: E402
from benchmarks.measure import say  # noqa: E402
from benchmarks.storage import NotCounted  # noqa: E402


def main() -> None:
    """Takes the named measures one after the other, on workers that are started once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("measures", nargs="+", choices=list(MEASURES))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    say(f"Preparing {vendor()} …")
    call_command("migrate", verbosity=0)
    # SQLite has one writer at a time, and so one worker.
    workers, threads = (2, 16) if connection.vendor == "postgresql" else (1, 8)
    crew = Crew(os.environ, Path(os.environ["HOLDPOINT_DATA"]), count=workers, threads=threads)
    bench = Bench(crew, prepare_people(), QUICK if options.quick else Size())
    try:
        crew.start()
        bench.warm_up()
        for name in options.measures:
            _take(bench, name)
    finally:
        crew.stop()


def _take(bench: Bench, name: str) -> None:
    say(f"{name}: {(MEASURES[name].__doc__ or '').splitlines()[0]}")
    began = time.monotonic()
    try:
        for figure in MEASURES[name](bench):
            sys.stdout.write(figure.as_json() + "\n")
            sys.stdout.flush()
    except NotCounted as reason:
        say(f"  {name} is left out: {reason}")
    say(f"  done after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
