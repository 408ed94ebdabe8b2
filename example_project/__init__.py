"""A shop whose orders have ten side effects each, and what it takes to run it on one machine."""

from __future__ import annotations
