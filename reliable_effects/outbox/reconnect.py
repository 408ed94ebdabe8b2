"""
Leave no broken connection to who comes next in this thread.

An answer that is lost while autocommit is set back (on MariaDB that is a round trip) makes Django
take the next `atomic()` for an inner one. It asks for a savepoint, fails, and from then on believes
to be in a block for ever: `close()` then keeps what it should drop, and nothing in the thread
reaches the database again.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import Error, connections


def reconnect(using: str) -> None:
    """Drop the connection, in whatever state it is. Only for who knows that no block is open."""
    connection = connections[using]
    with suppress(Error):  # it is away, then
        connection.close()
    if connection.in_atomic_block or connection.connection is not None:
        del connections[using]  # the next one begins anew


def mend(using: str) -> None:
    """After an error that is not passed on: drop the connection where it is broken by it."""
    connections[using].close_if_unusable_or_obsolete()
