"""The matrix: `nox` runs the suite on each Python with each Django; `make test` runs one of them."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

# Django 6 needs Python 3.12. django-celery-beat refuses 6.1 so far, so its tests stay out there.
MATRIX = [
    ("3.11", "5.2"),
    ("3.12", "5.2"),
    ("3.12", "6.0"),
    ("3.13", "5.2"),
    ("3.13", "6.0"),
]


@nox.session
@nox.parametrize(("python", "django"), MATRIX)
def tests(session: nox.Session, django: str) -> None:
    session.install(*nox.project.dependency_groups(nox.project.load_toml(), "test"))
    session.install("--editable", ".", f"django~={django}.0")
    session.run("python", "-m", "tests.run", *session.posargs)
