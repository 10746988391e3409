from django.db import migrations

from tools.pattern_indexes import drop_pattern_indexes


class Migration(migrations.Migration):

    dependencies = [
        ("tools", "0009_misfit"),
    ]

    operations = [drop_pattern_indexes("tools")]
