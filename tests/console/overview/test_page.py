"""The overview: how it stands at a glance, from small rows, for who may see it, on any admin site."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from reliable_effects.console.rollups.models import RollupCursor
from reliable_effects.console.rollups.sweep import rollup
from reliable_effects.controls.models import EffectControl
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.reconcile.models import Coverage
from reliable_effects.watch.models import Alert
from tests.console.overview.conftest import OVERVIEW
from tests.outbox.conftest import pending_delivery, poisoned_delivery
from tests.reconcile.conftest import make_effect, make_owed

__all__ = ["make_effect", "make_owed"]  # fixtures

pytestmark = pytest.mark.django_db

HOSTILE = "</title></svg><script>alert(1)</script>{{ 7|add:7 }}"


def shown(client, address=OVERVIEW) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def section(client, address=OVERVIEW) -> str:
    """What is replaced as it refreshes."""
    return shown(client, address).partition('id="re-overview"')[2].partition('id="content-main"')[0]


def tile(client, label: str) -> tuple[str, str, str]:
    """Figure, words and address of one of the headline."""
    html = section(client)
    for each in re.findall(r'<li class="re-tile.*?</li>', html, re.DOTALL):
        if f">{label}<" in each:
            figure = re.search(r'class="re-figure">(.*?)<', each)[1]
            words = re.search(r'class="re-words">(.*?)<', each)[1]
            address = re.search(r'href="([^"]*)"', each)
            return figure, words, address[1].replace("&amp;", "&") if address else ""
    raise AssertionError(f"no tile {label}")


# Who sees it


def test_who_may_see_deliveries_sees_it_above_the_list_of_models(viewer, a_day):
    """Django's own page of the app stays what it is, below."""
    a_day()

    html = shown(viewer)

    assert html.index('id="re-overview"') < html.index('id="content-main"')
    assert "/admin/reliable_effects/delivery/" in html.partition('id="content-main"')[2]


def test_who_may_not_see_deliveries_sees_the_list_alone(log_in, a_day):
    """No figure, no script, and no question to the database about them."""
    a_day()
    client = log_in("view_sweep")

    with CaptureQueriesContext(
        connection,
    ) as queries:
        html = shown(client)

    assert "re-overview" not in html
    assert "overview.js" not in html
    assert "/admin/reliable_effects/sweep/" in html
    assert not [q for q in queries if "rollup" in q["sql"]]


def test_what_has_a_permission_of_its_own_needs_it_here_too(log_in, a_day):
    """What an alert says may not be for everybody."""
    a_day()
    Alert.objects.create(rule="poison", subject="shop.wrap", text="12 poison pills of shop.wrap")

    html = section(log_in("view_delivery"))

    assert "12 poison pills" not in html
    assert "Sweeps" not in html
    assert "Backlog" in html


@override_settings(ROOT_URLCONF="tests.console.overview.urls")
def test_it_works_on_an_admin_site_of_any_name(viewer, a_day, stands):
    """And leads to that site's pages."""
    a_day()
    stands(due=1)

    html = section(viewer, "/operators/reliable_effects/")

    assert "/operators/reliable_effects/delivery/?due=now" in html
    assert "/operators/reliable_effects/alert/?state=lasts" in html
    assert "/admin/" not in html


@override_settings(ROOT_URLCONF="tests.console.overview.urls")
def test_it_leads_nowhere_where_the_site_has_no_such_page(viewer, a_day):
    """A figure is a figure without a link."""
    a_day()

    html = section(viewer, "/sparse/reliable_effects/")

    assert "Backlog" in html
    assert re.findall(r'href="([^"]*)"', html) == ["/sparse/reliable_effects/sweep/"]


# What it says


def test_a_fresh_install_says_what_to_do(viewer):
    """Not a page of zeros."""
    html = section(viewer)

    assert "No effect has run yet" in html
    assert "effects_worker" in html


def test_each_tile_says_how_much_and_where_to_look(viewer, stands):
    """One glance, one click."""
    stands(due=7, oldest_due=40, running=2)
    stands("payments", due=3, oldest_due=720, poisoned=4, uncertain=1)

    assert tile(viewer, "Backlog") == (
        "10", "due now, 2 running", "/admin/reliable_effects/delivery/?due=now",
    )  # fmt: skip
    assert tile(viewer, "Oldest due") == (
        "12 min", "late", "/admin/reliable_effects/delivery/?due=late",
    )  # fmt: skip
    assert tile(viewer, "Poison pills")[:2] == ("4", "a person must look")
    assert tile(viewer, "Uncertain") == (
        "1", "a person must look", "/admin/reliable_effects/delivery/?state=uncertain",
    )  # fmt: skip


def test_the_lists_behind_the_tiles_show_those_rows(viewer, stands):
    """A filter's name that is misspelt shows everything."""
    pill, other = poisoned_delivery(), pending_delivery()
    stands(poisoned=1)

    address = tile(viewer, "Poison pills")[2]
    html = shown(viewer, address)

    assert f"/delivery/{pill.pk}/change/" in html
    assert f"/delivery/{other.pk}/change/" not in html


def test_rates_are_those_of_the_last_quarter_of_an_hour(viewer, a_day):
    """Of what is counted."""
    a_day()

    assert tile(viewer, "Throughput")[:2] == ("10", "succeeded a minute, 100 in 10 min")
    assert tile(viewer, "Failure rate")[:2] == ("9.1 %", "10 of 110 attempts in 10 min")


def test_a_count_that_was_cut_short_says_so(viewer, stands):
    """10,000 is as far as anybody counts."""
    stands(due=10_000)
    stands("payments", due=5, poisoned=6000)
    stands("mails", poisoned=4000)

    assert tile(viewer, "Backlog")[0] == "10005+"
    assert tile(viewer, "Poison pills")[0] == "10000+"


def test_figures_of_before_are_called_so(viewer, stands):
    """No worker runs: then the last thing seen is no news."""
    seen_at = timezone.now() - timedelta(minutes=9)
    stands(due=7, seen_at=seen_at, bucket=seen_at)

    assert "No worker has looked" in section(viewer)


def test_a_count_that_is_behind_says_how_far_it_has_come(viewer, stands, a_day):
    """After an outage."""
    a_day()
    stands(due=7)
    RollupCursor.objects.update(ended_to=timezone.now() - timedelta(hours=2))

    assert "The counting has come to" in section(viewer)


def test_sweeps_alerts_and_pauses_are_told(viewer, a_day):
    """What is wrong, by name."""
    a_day()
    Sweep.objects.create(name="relay")
    Sweep.objects.create(name="rescue", ran_at=timezone.now() - timedelta(hours=2))
    Alert.objects.create(rule="poison", subject="shop.wrap", text="12 poison pills of shop.wrap")
    over = {"resolved_at": timezone.now()}
    Alert.objects.create(rule="late", subject="effects", text="late work", **over)
    EffectControl.objects.create(
        effect="shop.wrap", paused_at=timezone.now(), by="ada", why="the paper is out"
    )

    html = section(viewer)

    assert "rescue" in tile(viewer, "Sweeps")[1]
    assert tile(viewer, "Alerts")[0] == "1"
    assert "12 poison pills of shop.wrap" in html
    assert "late work" not in html
    assert tile(viewer, "Paused")[0] == "1"
    assert "the paper is out" in html


def test_an_alert_leads_to_what_it_is_about(log_in, a_day):
    """Who was woken by it, and may see that; the others get the words alone."""
    a_day()
    Alert.objects.create(rule="uncertain", subject="shop.wrap", text="26 uncertain shop.wrap")
    Alert.objects.create(rule="sweep", subject="relay", text="the relay stands still")
    Alert.objects.create(rule="jobs", subject="gone.Table", text="jobs of gone.Table")

    lasting = section(log_in("view_delivery", "view_alert")).partition("What lasts")[2]

    list_of_them = "/admin/reliable_effects/delivery/?state=uncertain&amp;effect=shop.wrap"
    assert f'href="{list_of_them}">Deliveries' in lasting
    assert "the relay stands still" in lasting
    assert "jobs of gone.Table" in lasting
    assert "/sweep/" not in lasting


def test_an_effect_leads_to_its_page_or_to_its_deliveries(log_in, a_day):
    """A name that is a word only has to be typed into a search at night."""
    a_day(hours=1, effect="shop.wrap")

    seen = [
        section(log_in(*may)).partition("Effects in the last hour")[2]
        for may in (("view_delivery",), ("view_delivery", "view_effectcontrol"))
    ]

    assert 'href="/admin/reliable_effects/delivery/?effect=shop.wrap"' in seen[0]
    assert 'href="/admin/reliable_effects/effectcontrol/effect/shop.wrap/"' in seen[1]


def test_what_was_owed_stands_beside_what_was_done(viewer, make_owed):
    """By effect, over the last week."""
    effect = make_owed(name="test.charge")
    today = timezone.now().date()
    for days, columns in (
        (0, {"in_time": 90, "late": 5, "waiting": 3, "poisoned": 1, "uncertain": 1}),
        (6, {"in_time": 99, "given_up": 1, "missing": 2}),
        (7, {"in_time": 10_000}),
    ):
        day = today - timedelta(days=days)
        Coverage.objects.create(effect=effect.identity, day=day, **columns)

    row = re.search(r"test\.charge</th>(.*?)</tr>", section(viewer), re.DOTALL)[1]

    cells = re.findall(r">([^<]*)</td>", row)
    assert cells == ["200", "194", "97 %", "5", "3", "2", "1", "2"]


def test_effects_with_most_that_went_wrong_come_first(viewer, a_day):
    """In the last hour, whatever else was emitted."""
    a_day(hours=1, effect="shop.busy", emitted=900, failed=0)
    a_day(hours=1, effect="shop.broken", emitted=9, succeeded=0, failed=9, poisoned=2)

    html = section(viewer).partition("Effects in the last hour")[2]

    assert html.index("shop.broken") < html.index("shop.busy")


def test_nothing_from_a_row_is_markup(viewer, stands, a_day):
    """Names in rows may be anything."""
    a_day(effect=HOSTILE)
    stands(HOSTILE[:100], due=1)
    Sweep.objects.create(name=f"claims:{HOSTILE}")
    Alert.objects.create(rule="poison", subject=HOSTILE, text=HOSTILE)
    EffectControl.objects.create(effect=HOSTILE, paused_at=timezone.now(), by=HOSTILE, why=HOSTILE)

    html = section(viewer)

    assert "<script" not in html
    assert html.count("&lt;/title&gt;&lt;/svg&gt;&lt;script&gt;") >= 5
    assert "{{ 7|add:7 }}" in html


# Charts


def test_each_chart_has_a_title_words_and_figures(viewer, a_day):
    """For who sees no line."""
    a_day()

    html = section(viewer)

    charts = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    assert len(charts) == 4
    for each in charts:
        assert re.search(r"<title id=[^>]*>[A-Z]", each)
        assert "over the last 24 hours:" in re.search(r"<desc id=[^>]*>(.*?)</desc>", each)[1]
        assert each.count('<th scope="row">') >= 24
        assert re.search(r'class="re-line"[^>]* d="M', each)


def test_the_page_needs_no_style_and_no_script_within(viewer, a_day):
    """`default-src 'self'` forbids both."""
    a_day()

    html = section(viewer)

    assert not re.search(r'\s(style|on\w+)="', html)
    assert "<style" not in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("language", ["en", "de"])
def test_numbers_of_a_path_are_no_words_of_a_language(viewer, a_day, settings, language):
    """A comma for a point would draw something else."""
    settings.LANGUAGE_CODE = language
    settings.USE_THOUSAND_SEPARATOR = True
    a_day()

    html = section(viewer)

    for name in ("y1", "x2", "x", "y"):
        for value in re.findall(rf'\s{name}="([^"]*)"', html):
            float(value)


# What it costs


def test_a_page_asks_few_questions_and_none_of_a_big_table(
    viewer, a_day, stands, django_assert_max_num_queries
):
    """However many effects and queues there are."""
    EffectControl.objects.create(effect="shop.wrap", paused_at=timezone.now())
    for n in range(5):
        a_day(hours=2, effect=f"shop.effect_{n}")
        stands(f"queue-{n}", due=n)
        EffectControl.objects.create(effect=f"shop.effect_{n}", paused_at=timezone.now())
        pending_delivery()
    viewer.get(OVERVIEW)

    with django_assert_max_num_queries(20) as queries:
        viewer.get(OVERVIEW)

    big = ("reliable_effects_delivery", "reliable_effects_outboxevent", "reliable_effects_attempt")
    assert not [q["sql"] for q in queries if any(f"{table}" in q["sql"] for table in big)]


def test_the_page_changes_nothing(viewer, a_day):
    """It is a GET, every 15 seconds."""
    a_day()
    viewer.get(OVERVIEW)

    with CaptureQueriesContext(connection) as queries:
        viewer.get(OVERVIEW)

    harmless = ("SELECT", "SAVEPOINT", "RELEASE")
    assert not [q for q in queries if not q["sql"].lstrip("( ").startswith(harmless)]


def test_the_sweep_and_the_page_tell_one_story(viewer):
    """From rows of deliveries to a figure."""
    pending_delivery()
    poisoned_delivery()
    rollup("default")

    assert tile(viewer, "Backlog")[0] == "1"
    assert tile(viewer, "Poison pills")[0] == "1"
    assert Delivery.objects.count() == 2


# Several databases


@pytest.mark.django_db(databases=["default", "other"])
def test_each_database_has_a_section(viewer, a_day, settings):
    """Each has an outbox of its own."""
    settings.RELIABLE_EFFECTS = {"DATABASES": ("default", "other")}
    a_day()
    a_day(using="other")

    html = section(viewer)

    assert [alias for alias in ("default", "other") if f"Database {alias}" in html] == [
        "default", "other",
    ]  # fmt: skip
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("is_atomic", [False, True])
def test_a_database_that_cannot_be_read_hinders_no_other(viewer, a_day, settings, is_atomic):
    """It says so, in its own section; in a request with a transaction too."""
    settings.RELIABLE_EFFECTS = {"DATABASES": ("other", "default")}
    a_day()

    def away(*_):
        raise OperationalError("the server has gone\nfor good <b>")

    with connections["other"].execute_wrapper(lambda *_: away()):
        if is_atomic:
            with transaction.atomic():
                html = section(viewer)
        else:
            html = section(viewer)

    assert "The database other cannot be read: OperationalError: the server has gone" in html
    assert "Throughput" in html


# Without JavaScript


def test_without_javascript_it_reloads_until_it_is_told_not_to(viewer, a_day):
    """Who reads slowly needs it to stand still."""
    a_day()

    html = shown(viewer)
    still = shown(viewer, f"{OVERVIEW}?refresh=no")

    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', html)
    assert f'href="{OVERVIEW}?refresh=no"' in html
    assert 'http-equiv="refresh"' not in still
