from __future__ import annotations

SLOW = 0.1  # seconds that a call to a partner takes
