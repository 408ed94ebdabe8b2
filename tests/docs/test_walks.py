"""Whoever follows a page word for word arrives where it says."""

from __future__ import annotations

import pytest

from tests.waiting import eventually

from .pages import DOCS, ROOT, blocks, section
from .walk import Walk

pytestmark = pytest.mark.timeout(300)  # a dozen processes, each of which imports Django


@pytest.fixture
def walk(tmp_path):
    with Walk(tmp_path) as walk:
        yield walk


def test_the_readme_leads_from_nothing_to_a_mail(walk):
    """It is the first thing that anybody tries."""
    readme = ROOT / "README.md"
    lines = section(readme, "Your first reliable effect, in five minutes")

    walk.follow(b for b in blocks(readme, "python", "sh") if b.line in lines)

    assert "Order 1 is placed.\n" in walk.told
    eventually(lambda: "Thank you. Coupon: TEN." in walk.log("effects_worker"), within=30)
    walk.stop("effects_worker")
    walk.run("curl -d email=bob@example.com http://127.0.0.1:8000/orders/")
    walk.run("python manage.py effects_worker --drain")
    assert "Subject: Your order 2" in walk.told[-1]


def test_the_tutorial_leads_through_a_failure_to_a_test(walk):
    """One path that works, a broken courier included."""
    tutorial = DOCS / "tutorial" / "first-effect.md"
    mending = section(tutorial, "Mend it")
    before = [b for b in blocks(tutorial, "python", "sh") if b.line < mending.start]
    after = [b for b in blocks(tutorial, "python", "sh") if b.line >= mending.start]

    walk.follow(before)

    waiting, drained, ended = walk.told[-3:]
    assert [line.split()[0] for line in waiting.splitlines() if line.endswith(" waiting")] == [
        "shop.add_points", "shop.book_courier", "shop.send_receipt",
    ]  # fmt: skip
    assert "Thank you. Coupon: TEN." in drained
    assert ended.count(" succeeded") == 2
    assert ended.count(" poisoned ATTEMPTS_SPENT") == 1

    walk.follow(after)

    assert any("order 1: a courier is booked under" in told for told in walk.told)
    assert "OK" in walk.told[-1]
