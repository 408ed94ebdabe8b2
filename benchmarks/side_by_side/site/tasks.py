"""Where task queues look for an app's tasks: what the shop wrote for the contender at hand."""

from __future__ import annotations

import os

from benchmarks.side_by_side.contenders import contender

application = contender(os.environ["BENCH_CONTENDER"]).load_application()
