"""
A worker's child: `hang.py ID LEDGER` delivers one row, and waits in its effect for the frost.

`hang.py ID LEDGER look` waits for it before it has looked at the row, `… sweep` before it sweeps.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection

from tests.faults.outside import Outside
from tests.waiting import eventually


def main(pk: int, ledger: Path, hangs_at: str) -> None:
    settings.RELIABLE_EFFECTS = {
        "TRANSPORT": "none",
        "TIMEOUT": timedelta(seconds=2),
        "LEASE_GRACE": timedelta(seconds=1),
    }
    django.setup()
    from reliable_effects import effect  # noqa: PLC0415  # Django has to be set up first
    from reliable_effects.outbox import sweeps, timeout  # noqa: PLC0415
    from reliable_effects.outbox.deliver import on_hint  # noqa: PLC0415

    is_frozen = (ledger.parent / "frozen").exists

    @effect("test.hangs", subject="shop.Order", timeout=timedelta(seconds=2))
    def hangs(order: Any, ctx: Any) -> None:
        Outside(ledger).write(f"order {order.pk}", ctx.idempotency_key)
        eventually(is_frozen)

    timeout.enforce_here()
    if hangs_at:
        connection.ensure_connection()
        Outside(ledger).write("connected", "")
        eventually(is_frozen, within=30)
    if hangs_at == "sweep":
        sweeps._HANGS = timedelta(seconds=3)  # minutes, for others
        sweeps.sweep("default", sweeps.RELAY, now=True)
    on_hint({"v": 1, "db": "default", "ids": [pk]})


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), "".join(sys.argv[3:]))
