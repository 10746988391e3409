"""What somebody said about a call stays as they said it: the database itself refuses to change or, on
PostgreSQL, to delete it. The result that they gave may be purged; its digest stays.

On SQLite deleting stays possible, because Django empties tables there by deleting.
"""

from django.db import migrations

from tools.pattern_indexes import drop_pattern_indexes

KEPT = {
    "tools_settlement": (
        "id", "call_id", "run_id", "by", "at", "outcome", "result_digest", "reference", "note", "confirms"
    ),
    "tools_compensation": ("id", "call_id", "run_id", "undone_by", "tool", "by", "at", "reason"),
}
SAID = "what was said about a call stays as it was said"


def _named(row, columns):
    return ", ".join(f'{row}."{name}"' for name in columns)


def _on_postgresql(table, columns):
    result = "AND NEW.result IS NULL" if table == "tools_settlement" else ""
    same = f"({_named('NEW', columns)}) IS NOT DISTINCT FROM ({_named('OLD', columns)})"
    yield f"""
CREATE FUNCTION {table}_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND {same} {result} THEN RETURN NEW; END IF;
    RAISE EXCEPTION '{SAID}';
END $$"""
    yield f"""
CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_stays()"""


def _on_sqlite(table, columns):
    named = ", ".join(f'"{name}"' for name in columns)
    abort = f"BEGIN SELECT RAISE(ABORT, '{SAID}'); END"
    yield f"CREATE TRIGGER {table}_stays BEFORE UPDATE OF {named} ON {table} {abort}"
    if table == "tools_settlement":
        only = f"BEFORE UPDATE OF result ON {table} WHEN NEW.result IS NOT NULL"
        yield f"CREATE TRIGGER {table}_result_stays {only} {abort}"


def guard(apps, schema_editor):
    statements = _on_postgresql if schema_editor.connection.vendor == "postgresql" else _on_sqlite
    for table, columns in KEPT.items():
        for statement in statements(table, columns):
            schema_editor.execute(statement, params=None)


def unguard(apps, schema_editor):
    for table in KEPT:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP TRIGGER {table}_stays ON {table}")
            schema_editor.execute(f"DROP FUNCTION {table}_stays()")
            continue
        schema_editor.execute(f"DROP TRIGGER {table}_stays")
        if table == "tools_settlement":
            schema_editor.execute(f"DROP TRIGGER {table}_result_stays")


class Migration(migrations.Migration):
    dependencies = [("tools", "0003_what_people_found_out")]
    operations = [drop_pattern_indexes("tools"), migrations.RunPython(guard, unguard)]
