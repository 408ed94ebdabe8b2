/*
 * The overview, read anew every 15 seconds. Without this file the page is the same, and reloads.
 *
 * Only the section is replaced: focus, scroll, open figures and what is being selected stay. A tab
 * that nobody sees asks for nothing.
 */
"use strict";

(() => {
  const EVERY = 15000; // milliseconds between two reads
  const PATIENCE = 10000; // milliseconds that one may take

  const note = document.getElementById("re-note");
  const pause = document.getElementById("re-pause");
  const now = document.getElementById("re-refresh");
  if (!note || !pause || !now || !document.getElementById("re-overview")) {
    return;
  }

  let isPaused = false;
  let isReading = false;
  let isOver = false; // logged out, or no overview there any more
  let timer = null;

  const section = () => document.getElementById("re-overview");

  /* Read only when the words change: it is a live region, and a quarter of a minute is no news. */
  const tell = (words) => {
    if (note.textContent !== words) {
      note.textContent = words;
    }
  };

  const isSelecting = () => {
    const chosen = document.getSelection();
    return Boolean(chosen && !chosen.isCollapsed && section().contains(chosen.anchorNode));
  };

  /* The place of what has the focus, in words that hold for the next section too. */
  const placeOf = (element) => {
    if (!element || !section().contains(element)) {
      return null;
    }
    const kind = element.tagName.toLowerCase();
    return { kind, at: [...section().querySelectorAll(kind)].indexOf(element) };
  };

  const replace = (fresh) => {
    const open = [...section().querySelectorAll("details[open]")].map((each) => each.id);
    const focus = placeOf(document.activeElement);
    const scrolled = [...section().querySelectorAll(".re-scroll")].map((each) => each.scrollLeft);
    const { scrollX, scrollY } = window;
    section().replaceWith(document.adoptNode(fresh));
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) {
        details.open = true;
      }
    }
    section()
      .querySelectorAll(".re-scroll")
      .forEach((each, at) => {
        each.scrollLeft = scrolled[at] || 0;
      });
    if (focus) {
      const again = section().querySelectorAll(focus.kind)[focus.at];
      if (again) {
        again.focus({ preventScroll: true });
      }
    }
    window.scrollTo(scrollX, scrollY);
  };

  const read = async () => {
    if (isReading || isOver) {
      return;
    }
    isReading = true;
    try {
      const answer = await fetch(now.href, {
        credentials: "same-origin",
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (!answer.ok) {
        throw new Error(`status ${answer.status}`);
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("re-overview");
      if (!fresh) {
        isOver = true;
        pause.hidden = true;
        tell("Refreshing has stopped: log in again, or reload the page.");
      } else if (!isSelecting()) {
        replace(fresh);
        tell("");
      }
    } catch {
      tell("The page could not be refreshed, and is tried again. The figures are of before.");
    } finally {
      isReading = false;
    }
  };

  const schedule = () => {
    clearInterval(timer);
    timer = isPaused || isOver || document.hidden ? null : setInterval(read, EVERY);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Resume refreshing" : "Pause refreshing";
    schedule();
    if (!isPaused) {
      read();
    }
  });
  now.addEventListener("click", (event) => {
    if (!isOver && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      read();
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !isPaused) {
      read();
    }
    schedule();
  });
  schedule();
})();
