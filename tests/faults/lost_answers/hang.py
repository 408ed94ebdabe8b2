"""A worker's child: `hang.py ID LEDGER` delivers one row, and waits in its effect for the frost."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from tests.faults.outside import Outside
from tests.waiting import eventually


def main(pk: int, ledger: Path) -> None:
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "LEASE_GRACE": timedelta(seconds=1)}
    django.setup()
    from reliable_effects import effect  # noqa: PLC0415  # Django has to be set up first
    from reliable_effects.outbox import timeout  # noqa: PLC0415
    from reliable_effects.outbox.deliver import on_hint  # noqa: PLC0415

    @effect("test.hangs", subject="shop.Order", timeout=timedelta(seconds=2))
    def hangs(order: Any, ctx: Any) -> None:
        Outside(ledger).write(f"order {order.pk}", ctx.idempotency_key)
        eventually((ledger.parent / "frozen").exists)

    timeout.enforce_here()
    on_hint({"v": 1, "db": "default", "ids": [pk]})


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
