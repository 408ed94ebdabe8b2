"""Which databases a test may use."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections
from django.test.testcases import DatabaseOperationForbidden  # type: ignore[attr-defined]  # not in the stubs

from ..conf import settings


def usable_databases() -> Sequence[str]:
    """
    Those of RELIABLE_EFFECTS["DATABASES"] that the test case has not closed (`databases = {…}`).

    Raises:
        DatabaseOperationForbidden: all of them are closed.
    """
    usable = []
    refused: DatabaseOperationForbidden | None = None
    for alias in settings().databases:
        try:
            connections[alias].cursor().close()
        except DatabaseOperationForbidden as error:
            refused = error
        else:
            usable.append(alias)
    if refused is not None and not usable:
        raise refused
    return usable
