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
        from runs import agent, endings, questions, services, waits, worker_life, workflow
        from tools import ports

        workflow.discover()
        agent.discover()
        worker_life.connect()
        endings.listen("runs.places", services.hand_on)
        endings.listen("runs.family", services.settle_family)
        waits.add(questions.waits_of)
        ports.lock_run, ports.on_settled = services.lock_run, services.settle_call
