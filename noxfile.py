"""
The matrix: `nox` runs the suite on each Python with each Django, on all databases and brokers.

`nox -s "tests(python='3.13', django='6.1')" -- tests/outbox` runs part of it; `make test` runs one of them.
"""

from __future__ import annotations

import shutil

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

# Django 6 needs Python 3.12.
MATRIX = [
    ("3.11", "5.2"),
    ("3.12", "5.2"),
    ("3.12", "6.0"),
    ("3.12", "6.1"),
    ("3.13", "5.2"),
    ("3.13", "6.0"),
    ("3.13", "6.1"),
]
REFUSED_BY_BEAT = {"6.1"}  # by django-celery-beat 2.9: its own tests stay out there


@nox.session
@nox.parametrize(("python", "django"), MATRIX)
def tests(session: nox.Session, django: str) -> None:
    groups = ["test-without-beat" if django in REFUSED_BY_BEAT else "test"]
    if shutil.which("mariadb_config"):  # its driver is compiled
        groups.append("mariadb")
    project = nox.project.load_toml()
    session.install(*nox.project.dependency_groups(project, *groups))
    session.install("--editable", ".", f"django~={django}.0")
    session.run("python", "-m", "django", "--version")
    session.run("python", "-m", "tests.run", *session.posargs)
