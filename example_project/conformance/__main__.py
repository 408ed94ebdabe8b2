"""`python -m example_project.conformance [--port 8000] [--asgi]`: the fixture, on SQLite."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from example_project.conformance.serve import Served, environment, migrate
from example_project.processes import Fleet


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m example_project.conformance")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--asgi", action="store_true", help="uvicorn instead of gunicorn")
    parser.add_argument("--database", default="", metavar="URL", help="postgres://… or mysql://…")
    parser.add_argument("--atomic-requests", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fixture-") as name, Fleet() as fleet:
        folder = Path(name)
        told = environment(folder, asked.database, is_atomic=asked.atomic_requests)
        migrate(told)
        server = Served("server", told, logs=folder, is_asgi=asked.asgi, port=asked.port)
        fleet.start(server)
        fleet.wait_until_ready()
        print(f"Plain views at {server.url}, REST framework's at {server.url}/drf. Ctrl-C ends it.")
        while not fleet.dead():
            time.sleep(0.5)
        print(server.last_lines())
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
