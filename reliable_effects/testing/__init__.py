"""Tools for tests of projects that use reliable_effects."""

from __future__ import annotations
