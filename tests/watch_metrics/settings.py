"""What processes of these tests run with: everything is measured and traced."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403  # everything else is as in the other tests

RELIABLE_EFFECTS = {
    "TRANSPORT": "celery" if "TEST_BROKER" in os.environ else "none",
    "INSTRUMENTS": ["prometheus", "opentelemetry"],
}
