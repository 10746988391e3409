"""All settings of Holdpoint, grouped; what an installation may change comes from the environment."""

import os
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.templatetags.static import static

from config import environment
from config.logs import logging_settings
from ops.launch.broker import broker_url

# --- The environment ---------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
HOLDPOINT_DATA = environment.data_folder(os.environ.get("HOLDPOINT_DATA") or BASE_DIR / ".holdpoint")
DATABASE_URL = os.environ.get("DATABASE_URL") or f"sqlite:///{HOLDPOINT_DATA / 'holdpoint.sqlite3'}"
REDIS_URL = os.environ.get("REDIS_URL", "")
HOLDPOINT_MODEL = os.environ.get("HOLDPOINT_MODEL") or "scripted"
HOLDPOINT_RETAIL_DATA = os.environ.get("HOLDPOINT_RETAIL_DATA", "")
# What callers of the tools were promised last: a file of the repository. See `manage.py tools lock`.
HOLDPOINT_CONTRACTS_LOCK = Path(
    os.environ.get("HOLDPOINT_CONTRACTS_LOCK") or BASE_DIR / "tools" / "contracts.lock"
)

# Embedded means: one machine, nothing given from outside. There the browser is on this machine too.
EMBEDDED = "DATABASE_URL" not in os.environ
DEBUG = environment.flag("HOLDPOINT_DEBUG", False)
HTTPS = environment.flag("HOLDPOINT_HTTPS", not EMBEDDED)
ALLOWED_HOSTS = environment.words("HOLDPOINT_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = environment.words("HOLDPOINT_ORIGINS")

# --- Secrets -----------------------------------------------------------------------------------

SECRET_KEY = os.environ.get("SECRET_KEY") or environment.kept_secret(HOLDPOINT_DATA, "secret-key")
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")
# By key id; the first one signs, all of them verify.
HOLDPOINT_JOURNAL_KEYS = environment.journal_keys(
    os.environ.get("HOLDPOINT_JOURNAL_KEYS") or f"k1:{environment.kept_secret(HOLDPOINT_DATA, 'journal-key')}"
)

# --- Apps --------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "unfold.contrib.simple_history",
    "config.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "simple_history",
    "django_fsm",
    "django_htmx",
    "axes",
    "csp",
    "django_celery_beat",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "tools",
    "runs",
    "approvals",
    "ops",
    "config",
    # The users' own apps, with their workflows.py, tools.py, agents.py and policies.py.
    *environment.words("HOLDPOINT_APPS", "examples.support_desk"),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "config.security.ContentSecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ops.screen.around",
            ],
        },
    },
]

# --- Database ----------------------------------------------------------------------------------

# A pool of connections for processes with many threads; a process with one thread keeps its own.
DATABASE_POOL = environment.flag("HOLDPOINT_DATABASE_POOL", True)
DATABASES: dict[str, dict[str, Any]] = {
    "default": environment.database(
        DATABASE_URL, pool=DATABASE_POOL, pool_size=environment.whole("HOLDPOINT_DATABASE_POOL_SIZE", 20)
    )
}

# --- Queues ------------------------------------------------------------------------------------

# A message is a hint that carries one id: acknowledged early, never retried, and losing it loses nothing.
CELERY_BROKER_URL = REDIS_URL or broker_url(HOLDPOINT_DATA)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": not CELERY_BROKER_URL.startswith("redis+socket"),
    "health_check_interval": 15,
    # Acknowledged as they are taken, so there is nothing to keep of them meanwhile: that would be two more
    # round trips a message, a quarter of a busy worker's time.
    "ack_emulation": False,
    # A sender asks once: whoever saves a row must not wait for a broker that is away.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    # One list a priority, 0 first, and all queues of a worker before the next priority: without these Redis
    # knows four priorities and ours, 0 to 9, would share them. Hints carry 9 minus the run's priority.
    "priority_steps": list(range(10)),
    "queue_order_strategy": "priority",
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "runs"
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_TIMEZONE = "UTC"
# Seconds between two rounds of the caretakers.
HOLDPOINT_CARETAKE_EVERY = environment.whole("HOLDPOINT_CARETAKE_EVERY", 2)
CELERY_BEAT_SCHEDULE = {
    "caretake": {
        "task": "runs.tasks.caretake",
        "schedule": HOLDPOINT_CARETAKE_EVERY,
        # Rounds that nobody takes do not pile up; long enough for clocks that differ between machines.
        "options": {"queue": "caretakers", "expires": 600},
    }
}

# Whole seconds: how long a silent worker keeps a run, and how much longer than a timeout a lease lasts.
# Shorter: another worker takes over sooner. Longer: short stalls cost nothing.
HOLDPOINT_LEASE_SECONDS = environment.whole("HOLDPOINT_LEASE_SECONDS", 30, least=1)
HOLDPOINT_LEASE_MARGIN = environment.whole("HOLDPOINT_LEASE_MARGIN", 10, least=1)

# How many of a worker's threads may work on their turns at once; bodies and models' answers do not count.
HOLDPOINT_TURNS_AT_ONCE = environment.whole("HOLDPOINT_TURNS_AT_ONCE", 4, least=1)

# The most runs that may wait in one queue before nobody can start another; 0: no limit.
HOLDPOINT_QUEUE_LIMIT = environment.whole("HOLDPOINT_QUEUE_LIMIT", 0)
# The most messages of one run that it has not taken before nobody can send it another; 0: no limit.
HOLDPOINT_MESSAGE_LIMIT = environment.whole("HOLDPOINT_MESSAGE_LIMIT", 1000)
# Whether a version of a workflow starts runs only once a named person has activated it.
HOLDPOINT_ACTIVATION = environment.flag("HOLDPOINT_ACTIVATION", True)

# How often a call that may pass is made in all, and for how many seconds, where its tool does not say.
HOLDPOINT_TOOL_ATTEMPTS = environment.whole("HOLDPOINT_TOOL_ATTEMPTS", 3, least=1)
HOLDPOINT_TOOL_RETRY_SECONDS = environment.whole("HOLDPOINT_TOOL_RETRY_SECONDS", 300)
# Above this amount, such as "500 EUR", two people must agree what became of a call in doubt; empty: never.
HOLDPOINT_TWO_PEOPLE_ABOVE = environment.amount("HOLDPOINT_TWO_PEOPLE_ABOVE")

# Days after the end of a run; 0: for ever. A workflow may say otherwise for its own runs.
HOLDPOINT_KEEP_DAYS = environment.whole("HOLDPOINT_KEEP_DAYS", 0)
HOLDPOINT_KEEP_ARTIFACTS_DAYS = environment.whole("HOLDPOINT_KEEP_ARTIFACTS_DAYS", 0)
# Days after which an ended run leaves the working lists; its record stays.
HOLDPOINT_ARCHIVE_DAYS = environment.whole("HOLDPOINT_ARCHIVE_DAYS", 90)
# A folder for signed lists of the journals' heads, best on another machine; empty: in the data folder.
HOLDPOINT_ANCHORS = os.environ.get("HOLDPOINT_ANCHORS") or str(HOLDPOINT_DATA / "anchors")

# The most bytes of one result of a tool or model, and of one version of an artifact. What is larger than
# 256 KiB is kept beside its row.
HOLDPOINT_VALUE_BYTES = environment.whole("HOLDPOINT_VALUE_BYTES", 4_194_304, least=1)
HOLDPOINT_ARTIFACT_BYTES = environment.whole("HOLDPOINT_ARTIFACT_BYTES", 16_777_216, least=1)

# A JSON file that declares the MCP servers whose tools may be signed; empty: none.
HOLDPOINT_MCP_SERVERS = os.environ.get("HOLDPOINT_MCP_SERVERS", "")

# Private hosts that tools may call all the same, each with its port: billing.internal:8443.
HOLDPOINT_PRIVATE_HOSTS = environment.words("HOLDPOINT_PRIVATE_HOSTS")

# --- People ------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = LOGIN_URL
# Five wrong passwords for one name from one address: half an hour (in hours) of rest.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.5
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_LOCKOUT_CALLABLE = "ops.sign_in.locked_out"
SIMPLE_HISTORY_REVERT_DISABLED = True
# History is asked for one row at a time, by its id; an index by date would only be written.
SIMPLE_HISTORY_DATE_INDEX = False

# --- Security ----------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
# Unfold's admin runs Alpine, which evaluates expressions, and styles elements in place: there alone.
ADMIN_CONTENT_SECURITY = {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 12 * 3600
SECURE_SSL_REDIRECT = HTTPS and environment.flag("HOLDPOINT_HTTPS_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
if environment.flag("HOLDPOINT_BEHIND_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# --- API ---------------------------------------------------------------------------------------

# Requests a minute for each user, and streams that may be open, both in each web process.
HOLDPOINT_API_RATE = environment.whole("HOLDPOINT_API_RATE", 600, least=1)
HOLDPOINT_API_STREAMS = environment.whole("HOLDPOINT_API_STREAMS", 200, least=1)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["runs.api.callers.BearerToken", "runs.api.callers.Session"],
    # What a view does not declare is closed.
    "DEFAULT_PERMISSION_CLASSES": ["runs.api.callers.Needed"],
    "DEFAULT_THROTTLE_CLASSES": ["runs.api.callers.Rate"],
    "DEFAULT_PARSER_CLASSES": ["runs.api.bodies.StrictJson"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "runs.api.bodies.AlwaysJson",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "runs.api.problems.answer",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Holdpoint",
    "VERSION": "1",
    "DESCRIPTION": "Start runs, follow them, and decide what they wait for.",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "POSTPROCESSING_HOOKS": ["runs.api.schema.session_only"],
    "PATH_CONVERTER_OVERRIDES": {
        "workflow_name": {"type": "string", "pattern": "^[^/]{1,100}$"},
        "version": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    }
    | {
        f"{name}_id": {"type": "string", "pattern": f"^{prefix}_[0-9a-z]{{1,{most}}}$"}
        for name, prefix, most in (
            ("run", "run", 28),
            ("step", "stp", 28),
            ("artifact", "art", 28),
            ("call", "call", 27),
            ("approval", "apr", 28),
        )
    },
}

# --- Files, words, logs ------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = HOLDPOINT_DATA / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = False
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
LOGGING = logging_settings(json=not EMBEDDED, level=os.environ.get("HOLDPOINT_LOG_LEVEL", "INFO"))

UNFOLD = {
    "SITE_TITLE": "Holdpoint",
    "SITE_HEADER": "Holdpoint",
    "SITE_SYMBOL": "front_hand",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/mark.svg")}
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
}
