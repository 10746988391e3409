from django.apps import AppConfig


class WorkloadConfig(AppConfig):
    """The work of the benchmarks; installed by HOLDPOINT_APPS=benchmarks.workload."""

    name = "benchmarks.workload"
    label = "workload"
    verbose_name = "Benchmark workload"
    default_auto_field = "django.db.models.BigAutoField"
