"""From the alert to the last parcel, as the person who was woken sees it."""

from __future__ import annotations

from typing import Any

import pytest

from reliable_effects.outbox.states import State
from reliable_effects.watch.models import Alert
from tests.shop.models import LedgerEntry

from .behind import behind
from .driver import expect
from .shop import BOOK, deliveries

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,  # a browser asks none
]

MOST_CLICKS = 5  # from the alert's link to the preview


class Reader:
    """Somebody at the page, who counts what they click."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.clicks = 0

    def click(self, role: str, name: str) -> None:
        self.page.get_by_role(role, name=name).first.click()
        self.clicks += 1

    def reads(self, *texts: str) -> None:
        for text in texts:
            expect(self.page.locator("#content")).to_contain_text(text)

    def says(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def field(self, name: str) -> Any:
        return self.page.locator(f".field-{name} .readonly")

    def tile(self, label: str) -> Any:
        return self.page.locator(".re-tile", has_text=label).locator(".re-figure")


@pytest.fixture
def trouble(shop):
    """Two hundred parcels are not booked, and twelve of these orders are off by now."""
    shop.fall_into_trouble()
    assert Alert.objects.filter(rule="poisoned", resolved_at=None).exists()
    return shop


@pytest.fixture
def reader(trouble, look) -> Reader:  # noqa: ARG001  # first: see `behind`
    """Whoever follows the alert's link has it one click later on the screen."""
    reader = Reader(look())
    reader.clicks += 1
    return reader


def test_from_the_alert_to_the_last_parcel(trouble, reader):  # noqa: PLR0915  # it is told at a stretch
    """The whole night, as the how-to "You were woken" tells it."""
    expect(reader.tile("Poison pills")).to_have_text("200")
    reader.reads("200 poisoned shop.book_courier ATTEMPTS_SPENT")

    # What is it? One group, not two hundred troubles.
    reader.click("link", "Poison pills")
    reader.click("link", "KeyError")
    expect(reader.field("shown_state")).to_have_text("new")
    expect(reader.field("shown_pills")).to_have_text("200")
    reader.reads("'parcel'", "tests.browser.courier:parcel_number", "shop.Order:", "2027.14")
    clicks_to_the_group = reader.clicks

    # It is ours: whoever is woken next sees that.
    reader.click("button", "Acknowledge…")
    reader.reads("1 will be acknowledged")
    reader.says("Note:", "The courier calls it 'shipment' since 02:00. Their hotline knows.")
    reader.click("button", "Acknowledge")
    expect(reader.field("shown_state")).to_have_text("acknowledged")
    expect(reader.field("owner")).to_have_text("ada")
    reader.reads("Their hotline knows.")

    # The courier mends it. What would a redrive do? Nothing is changed by asking.
    trouble.courier.is_mended = True
    reader.click("link", "Redrive…")
    assert clicks_to_the_group + 1 <= MOST_CLICKS
    reader.reads("Nothing has been changed yet", "All 200 were asked about")
    assert _preview(reader) == {"would run": 188, "no longer needed: would be skipped": 12}
    assert behind(_booked)() == 30

    reader.says("Reason:", "The courier is back")
    reader.click("button", "Redrive gradually")
    expect(reader.field("shown_state")).to_have_text("gathering")

    # Workers go on with it; whoever looks sees how far they are.
    trouble.go_on(turns=1)
    reader.click("link", "Refresh")
    expect(reader.field("shown_state")).to_have_text("running")
    reader.reads("a canary of 10 is released")

    trouble.go_on(turns=3)
    reader.click("link", "Refresh")
    bar = reader.page.get_by_role("progressbar")
    assert 10 < float(bar.get_attribute("value")) < 200
    reader.reads("went well: 20 at once", "after a canary of 10")

    trouble.finish()
    reader.click("link", "Refresh")
    expect(reader.field("shown_state")).to_have_text("done")
    reader.reads("200 of 200 ended", "done: 188 succeeded, 0 failed")

    # The group is over, and comes back by itself should the release not mend it.
    reader.page.goto("/admin/reliable_effects/failuregroup/")
    reader.click("link", "KeyError")
    expect(reader.field("shown_pills")).to_have_text("0, it is over")
    reader.click("button", "Mark as fixed…")
    reader.says("Release:", "2027.15")
    reader.says("Reason:", "Reads both names")
    reader.click("button", "Mark as fixed")
    expect(reader.field("shown_state")).to_have_text("fixed")
    expect(reader.field("fixed_in")).to_contain_text("2027.15")

    # And the overview has nothing for a person any more.
    reader.page.goto("/admin/reliable_effects/")
    expect(reader.tile("Poison pills")).to_have_text("0")
    reader.reads("nothing to do")
    covered = reader.page.get_by_role("row", name=f"{BOOK} ").filter(has_text="100 %")
    expect(covered).to_have_count(1)
    assert behind(_booked)() == 30 + 188


def test_what_was_not_mended_halts_by_itself_and_says_why(trouble, reader):
    """The second act: somebody was too sure. Ten deliveries pay for it, not two hundred."""
    reader.click("link", "Poison pills")
    reader.click("link", "KeyError")
    reader.click("link", "Redrive…")
    assert reader.clicks <= MOST_CLICKS
    reader.says("Reason:", "They say it is mended")
    reader.click("button", "Redrive gradually")

    trouble.go_on(turns=3)
    reader.click("link", "Refresh")
    expect(reader.field("shown_state")).to_have_text("halted")
    reader.reads("of the last", "failed", "KeyError")
    trouble.go_on(turns=5)
    # Of the canary, too, some orders may be off by now.
    skipped = behind(_in)(State.SKIPPED)
    assert skipped < 5
    assert behind(_in)(State.POISONED) == 200 - skipped
    released = reader.field("progress").inner_text()
    assert "10 released" in released, released

    trouble.courier.is_mended = True
    resume = reader.page.locator("form", has=reader.page.get_by_role("button", name="Resume"))
    resume.get_by_label("Reason").fill("Now they have deployed it")
    reader.click("button", "Resume")
    trouble.finish()

    reader.click("link", "Refresh")
    expect(reader.field("shown_state")).to_have_text("done")
    reader.reads("Now they have deployed it", "They say it is mended")
    # Those of the first canary are poison again: they are told of, and not forgotten.
    assert behind(_in)(State.POISONED) == 10 - skipped
    assert behind(_in)(State.SKIPPED) <= 12
    assert behind(_in)(State.SUCCEEDED) == 30 + 190 + skipped - behind(_in)(State.SKIPPED)


def _preview(reader: Reader) -> dict[str, int]:
    rows = reader.page.locator(".re-table tbody tr")
    return {
        row.locator("td").nth(2).inner_text(): int(row.locator("td").first.inner_text())
        for row in rows.all()
    }


def _booked() -> int:
    """How often the courier was really asked, and understood."""
    return LedgerEntry.objects.count()


def _in(state: State) -> int:
    return deliveries().filter(state=state).count()
