"""The journal only grows: the database itself refuses to change or, on PostgreSQL, to delete an entry.

Content may be purged (set to NULL) when its time is over; its digest stays in the seal. On SQLite deleting stays
possible, because Django empties tables there by deleting; `journal verify` shows what is missing.
"""

from django.db import migrations

SEALED = ("run_id", "seq", "at", "recorded_at", "actor", "kind", "sentence", "step_id", "digest", "previous", "key_id", "mac")

POSTGRESQL = f"""
CREATE FUNCTION runs_journal_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.content IS NULL
       AND ({", ".join(f"NEW.{name}" for name in SEALED)}) IS NOT DISTINCT FROM ({", ".join(f"OLD.{name}" for name in SEALED)})
    THEN RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the journal only grows: entry % of % stays as it is', OLD.seq, OLD.run_id;
END $$;
CREATE TRIGGER runs_journal_only_grows BEFORE UPDATE OR DELETE ON runs_journalentry
    FOR EACH ROW EXECUTE FUNCTION runs_journal_only_grows();
"""
SQLITE = [
    f"""CREATE TRIGGER runs_journal_stays BEFORE UPDATE OF {", ".join(SEALED)} ON runs_journalentry
        BEGIN SELECT RAISE(ABORT, 'the journal only grows: entries stay as they are'); END""",
    """CREATE TRIGGER runs_journal_content_stays BEFORE UPDATE OF content ON runs_journalentry
        WHEN NEW.content IS NOT NULL
        BEGIN SELECT RAISE(ABORT, 'the journal only grows: content can only be purged'); END""",
]


def guard(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL, params=None)
        return
    for statement in SQLITE:
        schema_editor.execute(statement, params=None)


def unguard(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER runs_journal_only_grows ON runs_journalentry")
        schema_editor.execute("DROP FUNCTION runs_journal_only_grows()")
        return
    for name in ("runs_journal_stays", "runs_journal_content_stays"):
        schema_editor.execute(f"DROP TRIGGER {name}")


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial")]
    operations = [migrations.RunPython(guard, unguard)]
