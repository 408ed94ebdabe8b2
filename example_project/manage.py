"""`python -m example_project.manage <command>`, from the folder above."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    # Run as a script, this folder would come first on the path, and its celery.py hide Celery.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(p for p in sys.path if Path(p).resolve() != here)]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415  # after the path

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
