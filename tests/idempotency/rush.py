"""
`python -m tests.idempotency.rush COUNT`: sends one request COUNT times at once, when told to.

It writes "ready", reads the primary key of a user, and writes a line for each answer: its status,
and its code or body; then it waits for the next user.
"""

from __future__ import annotations

import sys
import threading

import django
from django.conf import settings

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402  # Django is ready only now
from django.db import connections  # noqa: E402

from tests.idempotency import views  # noqa: E402
from tests.idempotency.conftest import code, poster  # noqa: E402

settings.ROOT_URLCONF = views.__name__


def main(count: int) -> None:
    print("ready", flush=True)  # noqa: T201  # the other end reads it
    for line in sys.stdin:
        rush(int(line), count)


def rush(pk: int, count: int) -> None:
    user = get_user_model().objects.get(pk=pk)
    posts = [poster(user) for _ in range(count)]
    start = threading.Barrier(count)
    told: list[str] = []

    def send(post) -> None:
        start.wait()
        answer = post()
        told.append(f"{answer.status_code} {code(answer) or answer.content.decode()}")
        connections.close_all()

    threads = [threading.Thread(target=send, args=[post]) for post in posts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connections.close_all()
    print("\n".join(told), flush=True)  # noqa: T201  # as above


main(int(sys.argv[1]))
