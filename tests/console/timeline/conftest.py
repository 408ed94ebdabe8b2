"""The same people and hands as elsewhere."""

from __future__ import annotations

from tests.admin.conftest import log_in, operator, viewer
from tests.outbox.conftest import _this_process_remembers_nothing, make_effect

__all__ = ["_this_process_remembers_nothing", "log_in", "make_effect", "operator", "viewer"]
