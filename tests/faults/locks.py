"""A server needs a moment to see that its client is gone; its rows are skipped until then."""

from __future__ import annotations

from django.db import connection

_ASKED = {
    "postgresql": "SELECT count(*) = 0 FROM pg_stat_activity WHERE xact_start IS NOT NULL"
    " AND datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT count(*) = 0 FROM information_schema.innodb_trx"
    " JOIN information_schema.processlist ON id = trx_mysql_thread_id"
    " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}


def nobody_holds_a_lock() -> bool:
    """For `eventually`. SQLite's locks end with their process."""
    if connection.vendor not in _ASKED:
        return True
    with connection.cursor() as cursor:
        cursor.execute(_ASKED[connection.vendor])
        return bool(cursor.fetchone()[0])
