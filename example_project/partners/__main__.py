"""`python -m example_project.partners --port 8001 --ledger partners.sqlite3`"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from example_project.partners.behaviour import Behaviours
from example_project.partners.ledger import Ledger
from example_project.partners.server import PARTNERS, PartnersServer
from example_project.partners.webhooks import Webhooks


def main() -> None:
    parser = argparse.ArgumentParser(prog="partners", description=__doc__)
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--ledger", type=Path, default=Path("partners.sqlite3"))
    parser.add_argument("--seed", type=int, default=0, help="makes the misbehaviour repeatable")
    parser.add_argument("--shop", default="", help="where the shop hears webhooks; none without")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ledger = Ledger(options.ledger)
    behaviours = Behaviours(PARTNERS, seed=options.seed)
    webhooks = Webhooks(options.shop, seed=options.seed) if options.shop else None
    with contextlib.closing(ledger), contextlib.suppress(KeyboardInterrupt):
        server = PartnersServer(("127.0.0.1", options.port), ledger, behaviours, webhooks)
        if webhooks is not None:
            webhooks.start()
        print(f"Partners at http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
