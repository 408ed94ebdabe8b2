// Keeps the table of effects fresh: every second while something is under way, else every five
// (a person may redrive a delivery in the admin). Without JavaScript the page works by reloading.
"use strict";

const table = document.querySelector("[data-live]");

async function refresh() {
  try {
    const answer = await fetch(table.dataset.live);
    if (answer.ok) table.innerHTML = await answer.text();
  } catch {
    // The web server is away; the next round asks again.
  }
  schedule();
}

function schedule() {
  const settled = table.querySelector("[data-settled=yes]");
  setTimeout(refresh, settled ? 5000 : 1000);
}

schedule();
