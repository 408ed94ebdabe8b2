"""Fixtures for pytest, found through the `pytest11` entry point."""

from __future__ import annotations
