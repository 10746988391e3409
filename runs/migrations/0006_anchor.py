from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0005_errands_read")]

    operations = [
        migrations.CreateModel(
            name="Anchor",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("made_at", models.DateTimeField()),
                (
                    "up_to",
                    models.BigIntegerField(
                        help_text="The last journal entry it covers, by the database's number."
                    ),
                ),
                (
                    "runs",
                    models.PositiveIntegerField(help_text="How many runs had moved since the one before."),
                ),
                ("digest", models.CharField(max_length=64)),
                ("name", models.CharField(help_text="The file it was written to.", max_length=100)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("up_to",), name="anchor_once_a_place")
                ],
            },
        ),
    ]
