"""
The web process and its clients: orders at a steady rate, whether or not the last was answered.

`client.py RATE COUNT THREADS NAME`: appends to FAULTS_ANSWERS one line for each order, with what
its client was told. Each order is one request, with Django's signals around it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from pathlib import Path

import django
from django.core.signals import request_finished, request_started
from django.db import Error, connections, transaction

_numbers = itertools.count()
_writing = threading.Lock()


def _serve(rate: float, count: int, name: str, began: float) -> None:
    from tests.shop.models import Order  # noqa: PLC0415  # after django.setup()

    from .events import order_placed  # noqa: PLC0415  # as above

    while (number := next(_numbers)) < count:
        time.sleep(max(0.0, began + number / rate - time.monotonic()))  # the open loop
        answer = {"order": f"{name}{number}", "error": ""}
        asked = time.monotonic()
        request_started.send(_serve)
        try:
            with transaction.atomic():
                order = Order.objects.create(charge_id=answer["order"])
                order_placed.emit(order)
        except Error as error:
            answer["error"] = f"{type(error).__name__}: {error}"
        finally:
            request_finished.send(_serve)
        answer["seconds"] = round(time.monotonic() - asked, 3)
        with _writing, Path(os.environ["FAULTS_ANSWERS"]).open("a") as answers:
            answers.write(json.dumps(answer) + "\n")
    connections.close_all()


def main(rate: float, count: int, threads: int, name: str) -> None:
    django.setup()
    began = time.monotonic()
    serving = [
        threading.Thread(target=_serve, args=(rate, count, name, began)) for _ in range(threads)
    ]
    for thread in serving:
        thread.start()
    for thread in serving:
        thread.join()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
