// Charts. Loaded by app.js where a page has one, after the library that draws them.
"use strict";

const charts = new Map();
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function colours() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return {
    text: value("--gm-chart-text"),
    line: value("--gm-chart-line"),
    gap: value("--gm-chart-gap"),
    surface: value("--gm-chart-surface"),
    electricity: value("--gm-electricity"),
    water: value("--gm-water"),
    heat: value("--gm-heat"),
    now: value("--gm-now"),
    before: value("--gm-before"),
  };
}

function forget(element) {
  charts.get(element)?.dispose();
  charts.delete(element);
}

function message(element, text) {
  forget(element);
  sayInstead(element, text);
}

// Numbers arrive as exact decimal strings; a bar on the screen needs no more than a float.
function drawn(value) {
  return value === null ? null : Number(value);
}

// Neighbouring slots without readings are one gap.
function stretches(gaps) {
  const found = [];
  for (const slot of gaps) {
    const last = found.at(-1);
    if (last && last[1] === slot - 1) last[1] = slot;
    else found.push([slot, slot]);
  }
  return found;
}

function gapSeries(data, label, palette) {
  const labelWidth = echarts.format.getTextRect(label, "11px sans-serif").width;
  return {
    type: "custom",
    name: label,
    silent: true,
    z: 1,
    tooltip: { show: false },
    data: stretches(data.gaps),
    encode: { x: [0, 1], y: -1 },
    renderItem: (params, api) => {
      const from = api.coord([api.value(0), 0])[0];
      const to = api.coord([api.value(1), 0])[0];
      const slot = api.size([1, 0])[0];
      const { y, height } = params.coordSys;
      const shape = { x: from - slot / 2, y, width: to - from + slot, height };
      const band = {
        type: "rect",
        shape,
        style: {
          fill: palette.gap,
          opacity: 0.6,
          decal: { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4, color: palette.text },
        },
      };
      const caption = {
        type: "text",
        x: shape.x + shape.width / 2,
        y: shape.y + 8,
        style: { text: shape.width > labelWidth ? label : "", fill: palette.text, align: "center", fontSize: 11 },
      };
      return { type: "group", children: [band, caption] };
    },
  };
}

function options(element, data) {
  const palette = colours();
  const label = element.dataset.chartGap;
  const series = data.series.map((one) => ({
    type: one.kind,
    name: one.name,
    data: one.values.map(drawn),
    itemStyle: { color: palette[one.colour] ?? palette.now, borderRadius: one.kind === "bar" ? [3, 3, 0, 0] : 0 },
    lineStyle: { width: 2, type: one.kind === "line" ? "dashed" : "solid" },
    showSymbol: false,
    connectNulls: false,
    barMaxWidth: 28,
    z: 2,
  }));
  return {
    animation: false,
    grid: { left: 8, right: 8, top: 28, bottom: 8, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    legend: data.series.length > 1 ? { right: 0, top: 0, itemHeight: 10, textStyle: { color: palette.text }, data: data.series.map((one) => one.name) } : undefined,
    tooltip: {
      trigger: "axis",
      confine: true,
      backgroundColor: palette.surface,
      borderColor: palette.line,
      textStyle: { color: palette.text },
      formatter: (points) => caption(points, data, label),
    },
    xAxis: {
      type: "category",
      data: data.labels,
      axisLine: { lineStyle: { color: palette.line } },
      axisTick: { show: false },
      axisLabel: { color: palette.text, hideOverlap: true },
    },
    yAxis: {
      type: "value",
      name: data.unit,
      nameTextStyle: { color: palette.text, align: "left" },
      nameGap: 12,
      splitLine: { lineStyle: { color: palette.line } },
      axisLabel: { color: palette.text },
    },
    series: data.gaps.length ? [...series, gapSeries(data, label, palette)] : series,
  };
}

function escapeText(text) {
  const holder = document.createElement("span");
  holder.textContent = text;
  return holder.innerHTML;
}

function caption(points, data, gapLabel) {
  const shown = points.filter((point) => point.seriesName !== gapLabel);
  const slot = (shown[0] ?? points[0]).dataIndex;
  const lines = shown.map((point) => {
    const value = data.series[point.seriesIndex].values[slot];
    return `${point.marker}${escapeText(point.seriesName)} <b>${value === null ? escapeText(gapLabel) : `${escapeText(value)} ${escapeText(data.unit)}`}</b>`;
  });
  return [escapeText(data.titles[slot]), ...lines].join("<br>");
}

async function draw(element) {
  let data;
  try {
    const answer = await fetch(element.dataset.chartUrl, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    data = await answer.json();
  } catch {
    message(element, element.dataset.chartError);
    return;
  }
  if (!data.series.some((one) => one.values.some((value) => value !== null))) {
    message(element, element.dataset.chartEmpty);
    return;
  }
  if (!charts.has(element)) {
    element.replaceChildren();
    charts.set(element, echarts.init(element, null, { renderer: "canvas" }));
  }
  charts.get(element).setOption(options(element, data), true);
  element.dataset.chartDrawn = "true";
}

function drawAll() {
  for (const element of [...charts.keys()]) if (!element.isConnected) forget(element);
  for (const element of document.querySelectorAll("[data-chart-url]")) {
    if (element.dataset.chartKnown) continue;
    element.dataset.chartKnown = "true";
    draw(element);
    const seconds = Number(element.dataset.chartRefresh);
    if (seconds) {
      const timer = setInterval(() => (element.isConnected ? draw(element) : clearInterval(timer)), seconds * 1000);
    }
  }
}

window.addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
dark.addEventListener("change", () => [...charts.keys()].forEach(draw));
