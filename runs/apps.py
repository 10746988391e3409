from django.apps import AppConfig


class RunsConfig(AppConfig):
    """What is being done: workflows, runs, steps and the journal."""

    name = "runs"
    label = "runs"
    verbose_name = "Runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find the users' workflows and agents, and follow the life of worker processes."""
        # Models can be imported only now.
        from runs import agent, services, worker_life, workflow
        from tools import ports

        workflow.discover()
        agent.discover()
        worker_life.connect()
        ports.lock_run, ports.on_settled = services.lock_run, services.settle_call
