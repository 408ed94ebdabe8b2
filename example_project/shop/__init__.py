"""The shop: a page to place orders, and the ten side effects each order has."""

from __future__ import annotations
