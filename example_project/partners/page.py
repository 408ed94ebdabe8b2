"""The partners' page for people: what arrived, and buttons that make a partner misbehave."""

from __future__ import annotations

import json
import time
from html import escape
from string import Template
from typing import Any

_MOODS = {
    "works": {},
    "fails half": {"fail": 0.5},
    "is down": {"fail": 1},
    "is busy": {"busy": 0.5, "retry_after": 3},
    "is slow": {"stall": 0.5, "stall_seconds": 3},
    "drops answers": {"drop": 0.5},
}

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="3">
<title>Partners</title>
<style>
:root { color-scheme: light dark; --line: light-dark(#dde1e7, #333a45);
        --soft: light-dark(#5b6472, #9aa4b2); --card: light-dark(#fff, #1b2027);
        --good: light-dark(#14743c, #5fce8b); --bad: light-dark(#b3261e, #ff8a80);
        --accent: light-dark(#3452c7, #9db2ff); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 66rem;
       padding: 1.5rem 1rem; background: light-dark(#f5f6f8, #12161b);
       color: light-dark(#1a1f27, #e6e9ee); }
h1 { font-size: 1.5rem; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p { color: var(--soft); margin: 0 0 1rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
        overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .75rem; border-bottom: 1px solid var(--line);
         white-space: nowrap }
tr:last-child td { border-bottom: 0 }
th { color: var(--soft); font-weight: 500; font-size: .85rem }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
code { font-size: .85rem } .good { color: var(--good) } .bad { color: var(--bad) }
form { display: flex; gap: .3rem; margin: 0 }
button { font: inherit; font-size: .8rem; padding: .1rem .5rem; border-radius: 99px;
         border: 1px solid var(--line); background: none; color: inherit; cursor: pointer }
button:hover { border-color: var(--accent) }
button[aria-pressed=true] { background: var(--accent); color: var(--card);
                            border-color: var(--accent) }
</style>
<h1>Partners</h1>
<p>The outside world of the shop. Every call that arrives is written down here, with its
idempotency key. Press a button to make a partner misbehave.</p>
<div class="card"><table>
<tr><th>Partner<th class="number">Arrived<th class="number">Applied<th class="number">Failed
<th>How it behaves
$partners
</table></div>
<h2>$heading</h2>
<div class="card"><table>
<tr><th>Time<th>Partner<th>Order<th>Answer<th>Effect<th>Idempotency key
$arrivals
</table></div>
</html>
""")


def render(
    *,
    behaviours: dict[str, dict[str, float]],
    counts: dict[str, dict[str, int]],
    arrivals: list[dict[str, Any]],
    order: str = "",
) -> str:
    return _PAGE.substitute(
        heading=f"Arrivals for {escape(order)}, newest first" if order else "Last arrivals",
        partners="\n".join(
            _partner_row(name, behaviour, counts.get(name, {}))
            for name, behaviour in behaviours.items()
        ),
        arrivals="\n".join(_arrival_row(arrival) for arrival in reversed(arrivals))
        or "<tr><td colspan=6>Nothing has arrived yet.",
    )


def _partner_row(name: str, behaviour: dict[str, float], count: dict[str, int]) -> str:
    buttons = "".join(
        f'<button name="behaviour" value="{escape(json.dumps(wanted))}"'
        f' aria-pressed="{str(_is_now(wanted, behaviour)).lower()}">{label}</button>'
        for label, wanted in _MOODS.items()
    )
    numbers = "".join(
        f'<td class="number">{count.get(what, 0)}' for what in ("arrived", "applied", "failed")
    )
    return (
        f"<tr><td>{escape(name)}{numbers}"
        f'<td><form method="post" action="/">'
        f'<input type="hidden" name="partner" value="{escape(name)}">{buttons}</form>'
    )


def _is_now(wanted: dict[str, float], behaviour: dict[str, float]) -> bool:
    shares = ("fail", "busy", "drop", "stall")
    return all(behaviour[share] == wanted.get(share, 0) for share in shares)


def _arrival_row(arrival: dict[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(arrival["at"]))
    status = arrival["status"]
    answer = f'<span class="{"good" if status == 200 else "bad"}">{status or "dropped"}</span>'
    if arrival["applied"]:
        effect = "applied"
    else:
        effect = "repeat, first answer given" if status in (0, 200) else "turned away"
    return (
        f"<tr><td>{at}<td>{escape(arrival['partner'])}<td>{escape(arrival['reference'])}"
        f"<td>{answer}<td>{effect}<td><code>{escape(arrival['key'])}</code>"
    )
