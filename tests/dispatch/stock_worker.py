"""A Celery app as any project has one: what its stock worker is called with, it writes down."""

from __future__ import annotations

import json
import os
from pathlib import Path

from celery import Celery

app = Celery("stock", broker=os.environ.get("BROKER"), set_as_current=False)
app.conf.broker_connection_retry_on_startup = True


@app.task(name="reliable_effects.deliver", bind=True)
def deliver(self, hint):
    with Path(os.environ["RECEIVED"]).open("a") as file:
        file.write(json.dumps([self.request.id, self.request.ignore_result, hint]) + "\n")
