"""effects_install_beat writes the sweeps once, and never over what people made of them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from io import StringIO

import pytest
from celery import Celery, current_app
from celery.beat import Scheduler
from django.core.management import CommandError, call_command

import reliable_effects.tasks  # noqa: F401  # so that Celery knows them
from reliable_effects.outbox.sweeps import tasks

Run = Callable[..., str]
INSTALL = "call_command('effects_install_beat')\n"
CLEAN = "PeriodicTask.objects.all().delete(); IntervalSchedule.objects.all().delete()"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """`run(code)`: what *code* prints in a project with django-celery-beat and no rows of it."""
    if find_spec("django_celery_beat") is None:
        pytest.skip("django-celery-beat is not installed: it refuses this Django")
    database = tmp_path_factory.mktemp("beat") / "beat.sqlite3"
    environment = os.environ | {
        "BEAT_DATABASE": str(database), "DJANGO_SETTINGS_MODULE": "tests.commands.beat_settings",
    }  # fmt: skip

    def run(code: str, begin: str = CLEAN) -> str:
        script = f"""
import django; django.setup()
from django.core.management import call_command
from django_celery_beat.models import PeriodicTask, IntervalSchedule, CrontabSchedule
ours = PeriodicTask.objects.filter(task__startswith="reliable_effects.")
{begin}
{code}
"""
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("call_command('migrate', verbosity=0)", begin="")
    return run


def test_the_sweeps_are_written_with_their_periods(run):
    """What beat then sends are the tasks that workers know."""
    out = run(INSTALL + "print(sorted((t.task, t.interval.every, t.enabled) for t in ours))")

    written = ast.literal_eval(out.splitlines()[-1])
    assert written == sorted(
        (task, int(period.total_seconds()), True) for task, period in tasks().items()
    )
    assert {task for task, _, _ in written} <= current_app.tasks.keys()
    assert out.count("written") == len(written)


def test_a_second_run_changes_nothing(run):
    """It may stand in every deploy."""
    seen = "print(sorted(ours.values_list('pk', 'name', 'interval_id', 'date_changed')))\n"

    out = run(INSTALL + seen + INSTALL + seen + "print(IntervalSchedule.objects.count())")

    lines, there = out.splitlines(), len(tasks())
    assert lines[there] == lines[2 * there + 1]
    assert lines[-1] == str(len(set(tasks().values())))
    assert out.count("kept") == there


def test_what_people_changed_is_kept(run):
    """Whoever switched a sweep off, renamed it or slowed it down had a reason."""
    out = run(
        INSTALL + "ours.filter(task='reliable_effects.relay').update(enabled=False)\n"
        "at_night = CrontabSchedule.objects.create(hour='3', minute='0')\n"
        "ours.filter(task='reliable_effects.prune')"
        ".update(interval=None, crontab=at_night, name='Clean up')\n"
        + INSTALL
        + "print(sorted((t.name, t.enabled, bool(t.crontab_id)) for t in ours))"
    )

    rows = ast.literal_eval(out.splitlines()[-1])
    assert len(rows) == len(tasks())
    assert {
        ("Clean up", True, True),
        ("reliable_effects.relay", False, False),
        ("reliable_effects.rescue", True, False),
    } <= set(rows)
    assert "disabled" in out


def test_an_interval_that_is_there_twice_is_no_trouble(run):
    """django-celery-beat keeps nobody from making the same interval again."""
    out = run(
        "for _ in range(2): IntervalSchedule.objects.create(every=2, period='seconds')\n" + INSTALL
    )

    assert out.count("written") == len(tasks())


def test_the_check_is_silent_once_beat_sweeps(run):
    """The way out that its hint names is one."""
    check = """
from celery import Celery, current_app
from django.core.checks import run_checks
from django.test import override_settings
app = Celery("project", broker="redis://localhost:1/0")
options = {"TRANSPORT": "celery", "SWEEP_IN_WORKERS": False}
with override_settings(RELIABLE_EFFECTS=options):
    print(*(m.id for m in run_checks(tags=["reliable_effects"], databases=["default"])))
"""

    out = run(check + INSTALL + check)

    assert out.splitlines()[0] == " ".join(["reliable_effects.W031"] * len(tasks()))
    assert out.splitlines()[-1] == ""


def test_without_django_celery_beat_it_says_how_to_get_it():
    """And what to do instead."""
    with pytest.raises(CommandError) as caught:
        call_command("effects_install_beat")

    assert "django-reliable-effects[beat]" in str(caught.value)
    assert "--print" in str(caught.value)


def test_the_printed_lines_are_a_schedule_that_beat_takes():
    """Pasted into the settings, they work."""
    out = StringIO()
    call_command("effects_install_beat", "--print", stdout=out)
    lines: dict[str, dict[str, dict[str, object]]] = {}
    exec(out.getvalue(), lines)

    app = Celery("project", set_as_current=False)
    app.conf.beat_schedule = lines["CELERY_BEAT_SCHEDULE"]
    scheduler = Scheduler(app, lazy=True)
    scheduler.setup_schedule()
    scheduler.merge_inplace(app.conf.beat_schedule)
    app.close()

    assert {entry.task for entry in scheduler.schedule.values()} >= tasks().keys()
