// The little behaviour that plain HTML and htmx do not give. No inline scripts: the policy forbids them.
"use strict";

const drawing = document.currentScript.dataset.drawing.split(" ");
let charting = null;

function load(source) {
  return new Promise((loaded, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: source, onload: loaded, onerror: failed });
    document.head.append(script);
  });
}

function sayInstead(chart, text) {
  const line = document.createElement("div");
  line.className = "chart-message";
  line.textContent = text;
  chart.replaceChildren(line);
}

// Most pages have no chart, and what draws them is a megabyte: who pays at a barrier does not wait for it.
async function drawCharts() {
  if (!charting && !document.querySelector("[data-chart-url]")) return;
  charting ??= drawing.reduce((before, source) => before.then(() => load(source)), Promise.resolve());
  try {
    await charting;
  } catch {
    charting = null; // tried again when a part of the page is loaded
    for (const chart of document.querySelectorAll("[data-chart-url]")) sayInstead(chart, chart.dataset.chartError);
    return;
  }
  drawAll();
}

const photoSide = 1600;

// Pictures of phones are larger than a request may be. What is drawn anew also no longer says where it was taken.
async function shrinkPhoto(field) {
  const [file] = field.files;
  if (!file) return;
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return; // no picture: the server says so
  }
  const scale = Math.min(1, photoSide / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  const drawn = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
  if (!drawn) return;
  const files = new DataTransfer();
  files.items.add(new File([drawn], "reading.jpg", { type: "image/jpeg" }));
  field.files = files.files;
  field.dataset.shrunk = "true";
}

// Mistakes that a preview found, beside their fields. What is only not filled in yet is left alone until it was said once.
function markProblems(preview) {
  const form = document.getElementById(preview.dataset.marks);
  const said = new Set([...form.querySelectorAll("[data-problem-of]")].map((one) => one.dataset.problemOf));
  for (const one of form.querySelectorAll("[data-problem-of]")) one.remove();
  for (const one of form.querySelectorAll(".is-invalid")) one.classList.remove("is-invalid");
  for (const problem of preview.querySelectorAll("[data-problem-field]")) {
    const name = problem.dataset.problemField;
    if ("problemOpen" in problem.dataset && !said.has(name)) continue;
    const field = form.elements.namedItem(name);
    const place = field?.closest?.("[class*='col-']") ?? form.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (!place || place.querySelector("[data-problem-of]")) continue;
    const line = document.createElement("div");
    line.className = "invalid-feedback d-block";
    line.dataset.problemOf = name;
    line.textContent = problem.querySelector("span").textContent;
    place.append(line);
    field?.classList?.add("is-invalid");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  drawCharts();
  // A part that refreshes itself must not take away the field somebody is typing in.
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    const active = document.activeElement;
    if (event.target.matches("[data-quiet]") && event.target.contains(active) && active.matches("input, select, textarea")) event.preventDefault();
  });
  document.body.addEventListener("htmx:afterSettle", (event) => {
    drawCharts();
    if (event.target.matches("[data-marks]")) markProblems(event.target);
  });
  document.body.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
    if (event.target.matches("[data-shrink-photo]")) shrinkPhoto(event.target);
  });
});
