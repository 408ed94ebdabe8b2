"""Of the processes that are killed, and of those that drain: hints end in a file."""

from __future__ import annotations

from tests.settings import *  # noqa: F403  # all but the transport is theirs

RELIABLE_EFFECTS = {"TRANSPORT": "tests.faults.crash_points.outer_world.send"}
LOGGING_CONFIG = None  # each death and rescue has something to say; the verdict says it shorter
