"""
The shop's partners: one small HTTP service that stands for ten outside companies.

It runs as a process of its own and knows nothing of Django or of the shop's tables.
What arrives over the socket is written into its own ledger, so that what really happened
can be compared with what the shop believes.
"""

from __future__ import annotations
