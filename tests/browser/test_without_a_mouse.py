"""The same night with the keyboard alone, and with JavaScript switched off."""

from __future__ import annotations

from typing import Any

import pytest

from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.console.redriving.models import RedriveOperation

from .behind import behind
from .driver import expect

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,  # a browser asks none
]

_MOST_STEPS = 150  # of Tab, through a page's navigation, tools and table

# How what may be focused looks; the focus has to change it, or draw a ring.
_LOOKS = """at => {
  const style = getComputedStyle(at);
  return [style.boxShadow, style.borderColor, style.color, style.backgroundColor,
    style.textDecorationLine].join();
}"""
_REMEMBER = f"""() => {{
  const places = "a, button, input, select, textarea, summary, [tabindex]";
  for (const at of document.querySelectorAll(places)) at.looked = ({_LOOKS})(at);
}}"""
_FOCUSED = f"""() => {{
  const words = text => (text || "").replace(/\\s+/g, " ").trim();
  const at = document.activeElement;
  const box = at.getBoundingClientRect();
  const style = getComputedStyle(at);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return {{
    tag: at.tagName,
    name: words(at.getAttribute("aria-label") || at.textContent || at.value),
    label: at.labels && at.labels.length ? words(at.labels[0].textContent) : "",
    seen: ring || (at.looked !== undefined && at.looked !== ({_LOOKS})(at)),
    inView: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  }};
}}"""


class Typist:
    """Presses keys, and sees where the focus is."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def tab_to(self, name: str) -> None:
        """On with Tab, to the first thing of that name or label; all on the way can be seen."""
        self.page.evaluate(_REMEMBER)
        passed = []
        for _ in range(_MOST_STEPS):
            self.page.keyboard.press("Tab")
            at = self.page.evaluate(_FOCUSED)
            if at["tag"] != "BODY":
                assert at["seen"], f"nobody sees that the focus is at {at}"
                assert at["inView"], f"the focus is out of sight at {at}"
            if name in (at["name"], at["label"]):
                return
            passed.append(at["name"][:20])
        raise AssertionError(f"Tab never came to {name!r}; it passed {passed}")

    def follow(self, name: str, key: str = "Enter") -> None:
        """To it, and press *key*: another page opens."""
        self.tab_to(name)
        with self.page.expect_navigation():
            self.page.keyboard.press(key)

    def fill(self, label: str, text: str) -> None:
        self.tab_to(label)
        self.page.keyboard.type(text)


def test_a_night_without_a_mouse(shop, look):
    """Tab, Enter and Space lead from the overview to the operation."""
    shop.fall_into_trouble(count=12, given_back=2)
    page = look()
    keys = Typist(page)

    # Past the navigation in two strokes.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content-start")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#content-start, #content') !== null")

    keys.follow("Poison pills 12 a person must look")
    keys.follow("KeyError")
    keys.follow("Acknowledge…", "Space")
    keys.fill("Note:", "The courier knows")
    keys.follow("Acknowledge")
    assert behind(FailureGroup.objects.get)().owner == "ada"

    shop.courier.is_mended = True
    keys.follow("Redrive…")
    keys.fill("Reason:", "The courier is back")
    keys.follow("Redrive gradually", "Space")
    shop.finish()
    keys.follow("Refresh")
    expect(page.locator("#content")).to_contain_text("12 of 12 ended")
    assert behind(RedriveOperation.objects.get)().why == "The courier is back"


@pytest.mark.parametrize(
    "address", ["", "failuregroup/", "effectcontrol/", "redriveoperation/add/?state=poisoned"]
)
def test_tab_leads_through_a_page_and_out_again(shop, look, address):
    """No trap: after the last thing comes the browser's own, and then the first again."""
    shop.fall_into_trouble(count=3, given_back=1)
    page = look(f"/admin/reliable_effects/{address}")
    page.evaluate("document.activeElement.blur()")
    seen: list[str] = []
    for _ in range(_MOST_STEPS):
        page.keyboard.press("Tab")
        at = page.evaluate(
            "() => (window.ids ||= new Map(),"
            " ids.has(document.activeElement) || ids.set(document.activeElement, ids.size),"
            " `${document.activeElement.tagName} ${ids.get(document.activeElement)}`)"
        )
        if seen and at == seen[0]:
            break
        seen.append(at)
    else:
        raise AssertionError(f"Tab has not come back to where it began: {seen[-20:]}")

    assert len(seen) == len(set(seen)), "Tab came to something twice before it had been everywhere"
    assert len(seen) > 5


def test_the_first_half_of_the_night_without_javascript(shop, look):
    """A locked-down browser, or a script that did not come: all of it is links and forms."""
    shop.fall_into_trouble(count=12, given_back=2)
    page = look(java_script_enabled=False)

    tile = page.locator(".re-tile", has_text="Poison pills")
    expect(tile.locator(".re-figure")).to_have_text("12")
    tile.get_by_role("link").click()
    page.get_by_role("link", name="KeyError").click()
    page.get_by_role("button", name="Acknowledge…").click()
    page.get_by_label("Note:").fill("The courier knows")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".field-owner")).to_contain_text("ada")
    page.get_by_role("link", name="Redrive…").click()

    expect(page.locator("#content")).to_contain_text("10")
    expect(page.locator("#content")).to_contain_text("would run")
