"""Nobody is shut out: axe finds nothing serious on any page, in light, in dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from .driver import Axe
from .pages import REMEDIES, addresses, fill
from .urls import office

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,  # a browser asks none
    pytest.mark.timeout(300),  # 40 pages, on a machine that may have much else to do
]

BAD = ("serious", "critical")
NARROW = 400  # pixels

# What Django's own templates bring: by rule, what the selector of its place begins with.
NOT_OURS = {
    # Links of the path to a page are told from the text between them by colour alone.
    "link-in-text-block": (".breadcrumbs", "a:nth-child", '.small > a[href="?"]'),
    # The box over a list has an icon for its label.
    "label-title-only": ("#searchbar",),
}


class Finder:
    """Asks axe about what a page shows now."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.script = Axe().axe_script

    def find(self, rules: Mapping[str, Any] | None = None) -> Iterator[str]:
        """In words, what is serious and ours."""
        # `preload` would fetch style sheets again, and be refused by the page's own policy.
        options = {"resultTypes": ["violations"], "preload": False, **(rules or {})}
        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(self.script)
        found = self.page.evaluate("options => axe.run(document, options)", options)
        for rule in found["violations"]:
            for node in rule["nodes"] if rule["impact"] in BAD else ():
                place = str(node["target"][0])
                if not place.startswith(NOT_OURS.get(rule["id"], ())):
                    yield f"{rule['id']} at {place}: {node['html'][:160]}"

    def find_in_all_looks(self) -> list[str]:
        """Colours are asked about in both schemes, all else wide and narrow."""
        self._look(scheme="light", width=1300)
        found = list(self.find())
        self._look(scheme="dark", width=1300)
        found += self.find({"runOnly": ["color-contrast"]})
        self._look(scheme="light", width=NARROW)
        found += self.find({"rules": {"color-contrast": {"enabled": False}}})
        width = self.page.evaluate("document.documentElement.scrollWidth")
        if width > NARROW:
            found.append(f"it is {width} px wide on a screen of {NARROW}")
        return sorted(set(found))

    def _look(self, scheme: str, width: int) -> None:
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 900})
        # Links fade from one scheme's colour into the other's; what is halfway is in neither.
        self.page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")


@pytest.fixture
def places(shop) -> dict[str, str]:
    shop.fall_into_trouble(count=12, given_back=2)
    fill()
    return addresses(office)


def test_no_page_shuts_anybody_out(places, look):
    """And each is content with `default-src 'self'`: `look` fails where a page was refused something."""
    page = look(who="root")
    finder = Finder(page)
    found: dict[str, list[str]] = {}
    for name, address in places.items():
        answer = page.goto(address)
        assert answer.status == 200, (name, address)
        assert answer.headers["content-security-policy"] == "default-src 'self'"
        if bad := finder.find_in_all_looks():
            found[name] = bad

    assert found == {}, _told(found)


def test_no_remedy_shuts_anybody_out(places, look):
    """The page between an action and its deed, for each kind of remedy that a list offers."""
    page = look(who="root")
    finder = Finder(page)
    found: dict[str, list[str]] = {}
    for name, action in REMEDIES:
        page.goto(places[f"{name}_changelist"])
        page.locator("input.action-select").first.check()
        page.locator("select[name=action]").select_option(action)
        page.get_by_role("button", name="Go").click()
        page.wait_for_selector(".re-why, .re-table")
        if bad := finder.find_in_all_looks():
            found[f"{name}.{action}"] = bad

    assert found == {}, _told(found)


def _told(found: Mapping[str, list[str]]) -> str:
    return "\n" + "\n".join(f"{name}: {line}" for name, lines in found.items() for line in lines)
