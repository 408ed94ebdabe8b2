"""
A worker that is killed while it builds: `python -m tests.reports.killed PLACE STORE ID`.

It delivers one delivery of the test's database and kills itself, with SIGKILL, at the PLACE:
"streaming" (into the STORE, as JSON says it), "kept" (the blob is whole, nothing points to it), or "served" (the pointer stands, and
the delivery is not completed).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

NAME = "test.killed"
DIE_AT = ""


def rows() -> Iterator[dict[str, int]]:
    for number in range(100_000):
        if number == 90_000:
            die("streaming")
        yield {"number": number, "text": "x" * 200}  # twenty megabytes: parts of S3 are kept


def die(place: str) -> None:
    if place == DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def declare() -> Any:
    from reliable_effects.reports import report  # noqa: PLC0415  # Django is to be ready

    return report(NAME, allowed=lambda _user: True, fresh_for=timedelta(hours=1))(rows)


def main() -> None:
    import django  # noqa: PLC0415

    django.setup()
    from django.test.utils import override_settings  # noqa: PLC0415
    from django.utils.module_loading import import_string  # noqa: PLC0415

    from reliable_effects.outbox.deliver import deliver  # noqa: PLC0415
    from reliable_effects.reports import stores  # noqa: PLC0415

    globals()["DIE_AT"], named, delivery = sys.argv[1:]
    ours = json.loads(named)

    class DyingStore(import_string(ours["BACKEND"])):
        def put(self, *arguments: Any, **options: Any) -> stores.Stored:
            stored = super().put(*arguments, **options)
            die("kept")
            return stored

    stores.DyingStore = DyingStore  # type: ignore[attr-defined]  # to be found by its path
    declared = declare()
    build = declared.effect.function

    def build_and_die(*arguments: Any) -> None:
        build(*arguments)
        die("served")

    declared.effect.function = build_and_die
    ours["BACKEND"] = "reliable_effects.reports.stores.DyingStore"
    with override_settings(RELIABLE_EFFECTS={"TRANSPORT": "none", "REPORT_STORE": ours}):
        deliver("default", [int(delivery)])


if __name__ == "__main__":
    main()
