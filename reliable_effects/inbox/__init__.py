"""
Messages from others, each acted upon once, however often it arrives.

A row says that a message was handled, and is committed with what that changed: both are there, or
neither is. `claim` writes it inside your transaction, `consume_once` does that around a function,
and `only_newer` keeps what comes late from overwriting what is newer.
"""

from __future__ import annotations

from .claiming import Claim, claim
from .consuming import consume_once
from .versions import only_newer

__all__ = ["Claim", "claim", "consume_once", "only_newer"]
