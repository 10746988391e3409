from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class RunsConfig(AppConfig):
    """What is being done: workflows, runs, steps and the journal."""

    name = "runs"
    label = "runs"
    verbose_name = "Runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find the users' workflows and agents, and follow the life of worker processes."""
        # Models can be imported only now.
        from runs import agent, endings, questions, retention, services, waits, workflow
        from runs.crew import life
        from runs.replays.replay import replay
        from tools import ports

        # Of what it brings only crontabs are shown: see runs.admin.schedules.
        apps.get_app_config("django_celery_beat").verbose_name = "Clock"
        workflow.discover()
        agent.discover()
        life.connect()
        post_migrate.connect(services.note_versions, sender=self, dispatch_uid="runs.note_versions")
        endings.listen("runs.places", services.hand_on)
        endings.listen("runs.family", services.settle_family)
        waits.add(questions.waits_of)
        services.replay_with(replay)
        ports.lock_run, ports.on_settled = services.lock_run, services.settle_call
        ports.on_said, ports.requester_of = services.note_said, services.requester_of
        ports.arguments_of = services.arguments_of
        retention.also("what people found out", services.purge_said)
        ports.users_of = agent.users_of
        ports.wake_run = services.have_it_look
        ports.in_hand, ports.still_wait = services.in_hand, services.still_wait
        ports.names_of = services.names_of
