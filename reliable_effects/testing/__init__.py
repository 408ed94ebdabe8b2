"""
Tools for tests of projects that use reliable_effects.

`run_effects()` carries out what is owed, `assertEmitted` and `assertNotEmitted` look at what was
promised, and `assert_crash_safe()` kills an effect at each step and runs it again. They need no
broker and no worker, and work in `TestCase`, in `TransactionTestCase`, and with pytest-django.

Whoever imports one of them works without a broker from then on: TRANSPORT "auto" means "none". An
explicit TRANSPORT is obeyed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .crash import assert_crash_safe
    from .emitted import assertEmitted, assertNotEmitted
    from .running import EffectRun, JobBlocked, NotDone, run_effects

__all__ = [
    "EffectRun",
    "JobBlocked",
    "NotDone",
    "assertEmitted",
    "assertNotEmitted",
    "assert_crash_safe",
    "run_effects",
]

_PLACES = {
    "assert_crash_safe": ".crash",
    "assertEmitted": ".emitted",
    "assertNotEmitted": ".emitted",
    "EffectRun": ".running",
    "JobBlocked": ".running",
    "NotDone": ".running",
    "run_effects": ".running",
}


def __getattr__(name: str) -> Any:
    # pytest imports this package with the plugin, before Django is set up, and in projects that
    # are no Django projects at all. So models are first imported when a name is asked for.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ..outbox.dispatch import silence  # noqa: PLC0415  # imports models, see above

    silence()
    value = globals()[name] = getattr(import_module(_PLACES[name], __name__), name)
    return value
