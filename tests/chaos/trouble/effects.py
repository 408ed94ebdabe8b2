from __future__ import annotations

import os
import signal
from datetime import timedelta

from example_project.shop.models import Order
from reliable_effects import Backoff, EffectContext, effect
from tests.chaos.trouble.events import trouble


@effect("chaos.kill_process", on=trouble, backoff=Backoff(first=timedelta(milliseconds=500)))
def kill_process(order: Order, ctx: EffectContext[dict[str, object]]) -> None:  # noqa: ARG001
    """As a bug in a C extension would: no exception, no clean-up, the process is gone."""
    os.kill(os.getpid(), signal.SIGKILL)
