"""
Which errors of a database pass by themselves: it was away, or somebody was in the way.

They say nothing of what was asked, so the same again may succeed. All others (a value that a column
cannot keep, a table that is not there) would only fail again.
"""

from __future__ import annotations

from django.db import Error, InterfaceError, OperationalError

# PostgreSQL: connection, rollback (deadlock, serialization), resources, intervention, its machine …
_CLASSES = ("08", "40", "53", "57", "58")
# … and somebody's lock, a standby that is not promoted yet, a transaction that was idle for too long.
_STATES = ("55P03", "55006", "25006", "25P03", "25P04")

# MariaDB has no classes: whatever it knows no better name for is "operational".
_CODES = frozenset(
    {1205, 1213, 1020}  # lock timeout, deadlock, changed since it was read
    | {1040, 1203, 1226}  # too many connections
    | {1053, 1079, 1080, 1158, 1159, 1160, 1161, 1184, 1927}  # shut down, cut off, killed
    | {1317, 1969, 3024}  # interrupted, or out of time
    | {1021, 1114, 1180, 1181}  # no room left; COMMIT or ROLLBACK failed
    | {1290, 1792, 1836}  # read only, as before a promotion
)
_CLIENT_CODES = range(2000, 3000)  # of its client: nobody there, gone away, lost in the middle

# SQLite's primary codes: BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL,
# CANTOPEN, PROTOCOL.
_SQLITE = frozenset({5, 6, 7, 9, 10, 13, 14, 15})


def may_pass(error: BaseException) -> bool:
    """Whether the same may succeed a moment later. What cannot be read is taken for an absence."""
    if not isinstance(error, Error):
        return False
    cause = error.__cause__
    if isinstance(state := getattr(cause, "sqlstate", None), str):
        return state.startswith(_CLASSES) or state in _STATES
    if isinstance(code := getattr(cause, "sqlite_errorcode", None), int):
        return code & 0xFF in _SQLITE
    if isinstance(error, OperationalError):
        code = error.args[0] if error.args else 0
        return type(code) is not int or code == 0 or code in _CODES or code in _CLIENT_CODES
    return isinstance(error, InterfaceError)  # the connection is closed
