"""What `manage.py worker` and the launcher become: Celery's worker, without Celery's command line.

`celery -A config.celery worker` does the same, and first loads every other command of Celery.
"""

from __future__ import annotations

import argparse
import gc
import sys
from typing import Any

from celery import concurrency
from celery.utils.nodenames import default_nodename, host_format


def main(arguments: list[str]) -> int:
    """Works until it is told to end; the exit code."""
    options = _parser().parse_args(arguments)
    worker = loaded_app().Worker(
        pool_cls=concurrency.get_implementation(options.pool),
        concurrency=options.concurrency,
        queues=options.queues,
        hostname=host_format(default_nodename(options.hostname)),
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def loaded_app() -> Any:
    """Celery's app, with the whole project loaded."""
    # Nothing of what is loaded here is garbage, and to look for some takes a tenth of the time: so it is
    # loaded here and not at the top.
    gc.disable()
    from config.celery import app

    app.loader.init_worker()
    gc.freeze()
    gc.enable()
    return app


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m config.worker", description="Take messages from queues.")
    parser.add_argument("--queues", required=True, help="their names, with commas between")
    parser.add_argument("--pool", choices=("threads", "prefork"), default="threads")
    parser.add_argument("--concurrency", type=int, required=True, help="the number of threads or children")
    parser.add_argument("--hostname", help="its name, such as worker-1@%%h")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
