// The guard's desk: an event stream that says when lanes changed, and keys for everything. Without this script the same
// links and forms work as pages, and htmx refreshes the lanes.
"use strict";

function desk(root) {
  const panel = root.querySelector("#panel");
  const help = root.querySelector("#desk-keys");
  const state = root.querySelector("[data-desk-state]");
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, {
    timeZone: root.dataset.zone, hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  let chosen = root.querySelector("[data-chosen]")?.id ?? null;
  let source = null;
  let lostSince = null;
  let again = null;
  let asked = 0;

  const board = () => root.querySelector("#board");
  const lanes = () => [...root.querySelectorAll("[data-lane]")];
  const lane = () => (chosen ? document.getElementById(chosen) : null);

  function mark() {
    for (const one of lanes()) one.classList.toggle("desk-chosen", one.id === chosen);
  }

  function choose(one) {
    if (!one) return;
    chosen = one.id;
    mark();
    one.focus();
    one.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const all = lanes();
    const at = all.findIndex((one) => one.id === chosen);
    choose(all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)]);
  }

  function leave() {
    asked += 1;
    if (!panel.firstElementChild) return false;
    panel.replaceChildren();
    history.replaceState(null, "", "/parking/desk");
    lane()?.focus();
    return true;
  }

  // The form of a lane, beside the lanes, and only what was asked for last: a late answer must not put the form of another
  // lane there. Whatever else goes wrong, the link itself still works; where nothing answers, it would take the lanes away.
  async function show(link) {
    const mine = ++asked;
    try {
      const answer = await fetch(link.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(10000) });
      if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine !== asked) return;
      panel.replaceChildren(...page.querySelector("#panel").childNodes);
    } catch (error) {
      if (mine !== asked) return;
      if (error.name === "TimeoutError") {
        lost();
        anew();
      } else window.location.assign(link.href);
      return;
    }
    panel.querySelector("[autofocus]")?.focus();
    panel.scrollIntoView({ block: "nearest" });
  }

  function follow(link) {
    if (!link) return;
    if (link.hasAttribute("data-panel")) show(link);
    else window.location.assign(link.href);
  }

  function pick(number) {
    const form = panel.querySelector("[data-choices]");
    if (!form) {
      choose(lanes()[number - 1]);
      return;
    }
    const choice = form.querySelectorAll("input[type=radio]")[number - 1];
    if (!choice) return;
    choice.checked = true;
    const next = choice.hasAttribute("data-words") ? form.querySelector("input[name=reason]") : form.querySelector("[data-confirm]");
    next.focus();
  }

  function key(name) {
    if (name >= "1" && name <= "9") pick(Number(name));
    else if (name === "ArrowDown" || name === "ArrowUp") step(name === "ArrowDown" ? 1 : -1);
    else if (name === "?") help.showModal();
    else if (name === "n") follow(root.querySelector("[data-key=n]"));
    else if ("ocp".includes(name) && name.length === 1) {
      if (!lane()) step(1);
      follow(lane()?.querySelector(`[data-key=${name}]`));
    } else return false;
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (help.open) {
      if (event.key === "?") help.close();
      return;
    }
    if (event.key === "Escape") {
      if (leave()) event.preventDefault();
      return;
    }
    const typing = event.target.matches("input:not([type=radio]), select, textarea");
    const among = event.target.matches("input[type=radio]") && event.key.startsWith("Arrow");
    if (!typing && !among && key(event.key)) event.preventDefault();
  });

  root.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-panel]");
    const card = event.target.closest("[data-lane]");
    if (card && card.id !== chosen) {
      chosen = card.id;
      mark();
    }
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      show(link);
    }
    if (event.target.closest("[data-leave]") && leave()) event.preventDefault();
  });
  root.addEventListener("focusin", (event) => {
    const card = event.target.closest("[data-lane]");
    if (card) {
      chosen = card.id;
      mark();
    }
  });

  // New lanes take the place of the old ones: the guard stays where he was.
  let focused = null;
  document.body.addEventListener("htmx:beforeSwap", () => {
    const card = document.activeElement?.closest("[data-lane]");
    focused = card ? { id: card.id, key: document.activeElement.dataset.key } : null;
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    mark();
    const card = focused && document.getElementById(focused.id);
    if (card) ((focused.key && card.querySelector(`[data-key=${focused.key}]`)) || card).focus({ preventScroll: true });
  });

  // Until it settles, htmx gives new parts the classes of the old ones.
  document.body.addEventListener("htmx:afterSettle", mark);

  function say(text, colour) {
    state.textContent = text;
    state.className = `badge bg-${colour}-lt`;
  }

  function lost() {
    lostSince ??= new Date();
    say(root.dataset.lost.replace("{time}", clock.format(lostSince)), "red");
  }

  function anew() {
    close();
    clearTimeout(again);
    again = setTimeout(open, 3000);
  }

  function open() {
    clearTimeout(again);
    if (source) return;
    if (!lostSince) say(root.dataset.connecting, "secondary");
    source = new EventSource(root.dataset.deskUrl);
    source.onopen = () => {
      lostSince = null;
      say(root.dataset.live, "green");
    };
    source.onerror = () => {
      lost();
      // A refusal ends it for the browser, but not for a guard who looks on.
      if (source?.readyState === EventSource.CLOSED) anew();
    };
    source.addEventListener("lanes", () => htmx.trigger(board(), "lanes-changed"));
    source.addEventListener("end", lost);
  }

  function close() {
    source?.close();
    source = null;
  }

  // A dead network ends no stream, and perhaps not even a request: that nothing answers is noticed by the refreshing.
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.body.addEventListener(name, () => {
      lost();
      anew();
    });
  }

  root.querySelector("[data-desk-help]").hidden = false;
  root.querySelector("[data-desk-help]").addEventListener("click", () => help.showModal());
  window.addEventListener("pagehide", () => {
    clearTimeout(again);
    close();
  });
  window.addEventListener("pageshow", open);
  mark();
  if (panel.firstElementChild) panel.querySelector("[autofocus]")?.focus();
  else lane()?.focus();
  open();
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-desk-url]").forEach(desk));
