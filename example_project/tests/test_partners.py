"""The partners judge the shop, so what they write down must be right, also under fire."""

from __future__ import annotations

import threading

import pytest
import requests

from example_project.partners.behaviour import Behaviours, Mood
from example_project.partners.server import PARTNERS


def test_a_repeat_under_the_same_key_gets_the_first_answer_and_changes_nothing(partners):
    first = partners.call("payment", order="A-1", amount="5.00")
    again = partners.call("payment", order="A-1", amount="5.00")

    assert first.json() == again.json() == {"id": "payment-1", "order": "A-1"}
    assert [a["applied"] for a in partners.arrivals()] == [True, False]


def test_the_same_key_at_two_partners_is_two_calls(partners):
    partners.call("payment", order="A-1")
    partners.call("mail", order="A-1")

    assert partners.applied("A-1") == ["mail", "payment"]


def test_a_call_without_a_key_is_refused(partners):
    assert partners.call("payment", key=None, order="A-1").status_code == 400
    assert partners.arrivals() == []


def test_nobody_answers_under_an_unknown_name(partners):
    assert partners.call("bakery").status_code == 404
    assert partners.get("nowhere").status_code == 404


@pytest.mark.parametrize("body", ["[1]", "no json", '"text"'])
def test_a_body_that_is_no_object_is_refused(partners, body):
    answer = requests.post(
        f"{partners.url}/mail", data=body, headers={"Idempotency-Key": "k"}, timeout=5
    )

    assert answer.status_code == 400


def test_a_failure_is_written_down_and_changes_nothing(partners):
    partners.behave(mail={"fail": 1})

    assert partners.call("mail", order="A-1").status_code == 500
    assert [(a["applied"], a["status"]) for a in partners.arrivals()] == [(False, 500)]


def test_a_busy_partner_says_when_to_come_back(partners):
    partners.behave(mail={"busy": 1, "retry_after": 7})

    answer = partners.call("mail", order="A-1")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert partners.applied("A-1") == []


def test_a_dropped_call_is_applied_although_no_answer_comes(partners):
    """This is what makes an outcome uncertain: only the partner knows."""
    partners.behave(payment={"drop": 1})

    with pytest.raises(requests.ConnectionError):
        partners.call("payment", order="A-1")

    assert [(a["applied"], a["status"]) for a in partners.arrivals()] == [(True, 0)]
    assert partners.get("payment/find?key=key").json()["id"] == "payment-1"


def test_a_payment_that_was_never_made_is_not_found(partners):
    assert partners.get("payment/find?key=other").status_code == 404


def test_a_stalled_call_is_applied_after_the_caller_has_given_up(partners):
    partners.behave(mail={"stall": 1, "stall_seconds": 0.5})

    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{partners.url}/mail", json={}, headers={"Idempotency-Key": "k"}, timeout=0.1
        )
    partners.behave(mail={})
    partners.call("mail", key="another")
    repeat = partners.call("mail", key="k")  # before or after the stalled one, it's applied once

    assert repeat.ok
    assert sum(a["applied"] for a in partners.arrivals() if a["key"] == "k") == 1


def test_a_star_changes_everybody_and_a_name_beside_it_has_its_own_way(partners):
    partners.behave(**{"mail": {"fail": 0.5}, "*": {"busy": 0.2}})

    behaviours = partners.get("behaviour").json()

    assert behaviours["mail"]["fail"] == 0.5
    assert behaviours["mail"]["busy"] == 0
    assert {behaviours[name]["busy"] for name in PARTNERS if name != "mail"} == {0.2}


@pytest.mark.parametrize(
    "wanted",
    [{"bakery": {}}, {"mail": {"fial": 1}}, {"mail": {"fail": 2}}, {"mail": {"fail": "much"}},
     {"mail": 3}],
)  # fmt: skip
def test_a_behaviour_nobody_knows_is_refused_and_changes_nothing(partners, wanted):
    before = partners.get("behaviour").json()

    assert partners.behave(**wanted).status_code == 400
    assert partners.get("behaviour").json() == before


def test_the_same_seed_throws_the_same_dice():
    """A run that found something can be run again."""
    runs = []
    for _ in range(2):
        behaviours = Behaviours(PARTNERS, seed=7)
        behaviours.change({"*": {"fail": 0.3, "busy": 0.3, "drop": 0.3}})
        runs.append([behaviours.decide("mail")[0] for _ in range(40)])

    assert runs[0] == runs[1]
    assert set(runs[0]) == set(Mood)


def test_many_threads_with_the_same_keys_apply_each_key_once(partners):
    """Two workers may send the same call at the same instant after a lease was lost."""
    barrier = threading.Barrier(4)

    def hammer():
        barrier.wait()
        for n in range(25):
            assert partners.call("payment", key=f"k{n}", order=f"A-{n}").ok

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrivals = partners.arrivals(partner="payment")

    assert len(arrivals) == 100
    assert sum(a["applied"] for a in arrivals) == 25
    for n in range(25):
        assert len({a["answer"]["id"] for a in arrivals if a["key"] == f"k{n}"}) == 1


def test_the_page_shows_what_arrived_and_escapes_it(partners):
    partners.call("mail", order="<script>alert(1)</script>")

    page = partners.get("")

    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text


def test_a_button_of_the_page_changes_a_behaviour(partners):
    """A visitor of the demo breaks a partner with one press."""
    answer = requests.post(
        partners.url, data={"partner": "mail", "behaviour": '{"fail": 1}'}, timeout=5
    )

    assert answer.ok
    assert partners.get("behaviour").json()["mail"]["fail"] == 1
