"""
A sweeper that is killed in a step: `python -m tests.console.redriving.killed PLACE OPERATION`.

It takes steps of the operation until it kills itself, with SIGKILL, at the PLACE: "gathering" (the
items are written, the cursor is not), or "releasing" (deliveries and items are changed, nothing is
committed), or "released" (right after the commit).
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    import django  # noqa: PLC0415

    django.setup()
    from reliable_effects.console.redriving import steps  # noqa: PLC0415
    from reliable_effects.console.redriving.models import RedriveOperation  # noqa: PLC0415

    place, pk = sys.argv[1], int(sys.argv[2])
    save = RedriveOperation.save

    def save_or_die(row: RedriveOperation, *arguments: Any, **options: Any) -> None:
        if row.pk and (place == "gathering" or (place == "releasing" and row.released)):
            die()
        save(row, *arguments, **options)

    RedriveOperation.save = save_or_die  # type: ignore[assignment,method-assign]  # the moment before the commit
    for _ in range(20):
        steps.step("default", pk)
        if place == "released" and RedriveOperation.objects.get(pk=pk).released:
            die()


if __name__ == "__main__":
    main()
