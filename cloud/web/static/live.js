// Live readings of a meter: an event stream that runs while the page is seen. EventSource reconnects by itself and
// says where it was. It is closed while nobody looks; afterwards it shows what comes from then on.
"use strict";

function livePanel(panel) {
  const rows = new Map();
  const body = panel.querySelector("tbody");
  const state = panel.querySelector("[data-live-state]");
  const time = new Intl.DateTimeFormat(document.documentElement.lang, {
    timeZone: panel.dataset.zone, month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  let source = null;

  function say(name, colour) {
    state.textContent = panel.dataset[name];
    state.className = `badge bg-${colour}-lt`;
  }

  function row(channel) {
    if (!rows.has(channel)) {
      const made = body.insertRow();
      const cells = [channel, "", ""].map((text) => {
        const cell = made.insertCell();
        cell.textContent = text;
        return cell;
      });
      cells[0].className = "text-break";
      cells[1].className = "number";
      rows.set(channel, { cells, takenAt: "" });
      panel.querySelector("[data-live-empty]").hidden = true;
      panel.querySelector("table").hidden = false;
    }
    return rows.get(channel);
  }

  function show(reading) {
    const known = row(reading.channel);
    // A late reading is not the newest one.
    if (reading.taken_at < known.takenAt) return;
    known.takenAt = reading.taken_at;
    known.cells[1].textContent = `${reading.value.quantity} ${reading.value.unit}`;
    known.cells[2].textContent = time.format(new Date(reading.taken_at));
  }

  function open() {
    if (source || document.hidden) return;
    say("connecting", "secondary");
    source = new EventSource(panel.dataset.liveUrl);
    source.onopen = () => say("live", "green");
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) say("ended", "red");
      else say("connecting", "orange");
    };
    source.addEventListener("readings", (event) => JSON.parse(event.data).forEach(show));
    for (const name of ["gap", "reset"]) source.addEventListener(name, () => say("gap", "orange"));
    source.addEventListener("end", () => say("connecting", "orange"));
  }

  function close() {
    source?.close();
    source = null;
    say("paused", "secondary");
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-live-url]").forEach(livePanel));
