"""A process of its own, for a machine's clock of its own: promise five, say which, and drain."""

from __future__ import annotations

import sys

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    from tests.faults.place.effects import promise, ring

    sys.stdout.write("\n".join(promise(ring, 5)) + "\n")
    call_command("effects_worker", "--drain")
