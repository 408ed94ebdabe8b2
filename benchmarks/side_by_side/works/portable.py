"""The request again where there is no PostgreSQL: the portable path of emit."""

from __future__ import annotations

import importlib.util

from ..bench import Bench
from .request import blocks

_EFFECTS = 10


def run(bench: Bench) -> None:
    for database in ("sqlite", "mariadb"):
        work = f"portable, {database}"
        if database == "mariadb" and importlib.util.find_spec("MySQLdb") is None:
            bench.not_run[work] = "mysqlclient is not installed"
            bench.tell(f"  {work} not run: mysqlclient is not installed")
            continue
        taking_part = [one for one in bench.contenders if database in one.databases]
        with bench.stages(work, taking_part, database) as stages:
            for stage in stages:
                stage.ask("block", effects=0, kind="noop", seconds=bench.size.block)
                stage.ask("block", effects=1, kind="noop", seconds=bench.size.block)
            if stages:
                blocks(bench, work, stages, _EFFECTS)
