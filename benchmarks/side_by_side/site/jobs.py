"""Where django-reliable-outbox looks for an app's jobs."""

from __future__ import annotations

import os

from benchmarks.side_by_side.contenders import contender

application = contender(os.environ["BENCH_CONTENDER"]).load_application()
