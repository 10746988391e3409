"""The real settings, in a data folder of the test run's own.

`manage.py test` says which database and broker to use; run alone, pytest uses SQLite and starts a broker.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "HOLDPOINT_TEST_DATA" not in os.environ:
    folder = tempfile.mkdtemp(prefix="hp-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["HOLDPOINT_TEST_DATA"] = folder
# Each pytest-xdist worker has its own.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["HOLDPOINT_DATA"] = str(Path(os.environ["HOLDPOINT_TEST_DATA"]) / _worker)
for _name in (
    "SECRET_KEY",
    "HOLDPOINT_JOURNAL_KEYS",
    "HOLDPOINT_MODEL",
    "HOLDPOINT_HTTPS",
    "HOLDPOINT_DEBUG",
):
    os.environ.pop(_name, None)
os.environ["HOLDPOINT_HTTPS"] = "0"
# Tests declare workflows as they need them; those of activation switch it on.
os.environ["HOLDPOINT_ACTIVATION"] = "0"
# The plain cursor keeps one connection a thread, which a pool's own threads would disturb in tests.
os.environ["HOLDPOINT_DATABASE_POOL"] = "0"

from config.settings import *  # noqa: E402

if DATABASE_URL.startswith("sqlite"):
    # A file, not memory: other threads and processes must see the same rows.
    DATABASES["default"]["TEST"] = {"NAME": str(HOLDPOINT_DATA / "test.sqlite3")}
    # Tests are killed as processes, never by a power cut.
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
