from django.db import migrations, models
from django_fsm import FSMField


class Migration(migrations.Migration):
    """An errand whose outcome the run has taken over is told from one that it has yet to read."""

    dependencies = [("runs", "0004_retention_and_the_day")]

    operations = [
        migrations.AlterField(
            model_name="errand",
            name="state",
            field=FSMField(
                choices=[
                    ("waiting", "waiting"),
                    ("taken", "taken"),
                    ("done", "done"),
                    ("read", "read"),
                    ("lost", "lost"),
                ],
                default="waiting",
                max_length=50,
                protected=True,
            ),
        ),
        migrations.RemoveIndex(model_name="errand", name="errand_of_run"),
        migrations.AddIndex(
            model_name="errand",
            index=models.Index(
                condition=models.Q(("state__in", ["waiting", "taken", "done"])),
                fields=["run_id"],
                name="errand_of_run",
            ),
        ),
        migrations.AddIndex(
            model_name="errand",
            index=models.Index(condition=models.Q(("state", "taken")), fields=["id"], name="errand_taken"),
        ),
    ]
