// Draws the page from the JSON in #data; page.h documents its keys. Text goes in as textContent only, so that a run's
// name can't become markup. When all is drawn, <html data-charts="N"> says how many charts and heat maps there are.
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const kShapes = ["circle", "triangle", "rect", "rectRot", "star", "crossRot", "cross", "rectRounded"];
  const kColours = 8;
  const kViridis = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
  const charts = [];

  // --- small helpers -------------------------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "style") Object.assign(node.style, value);
      else node.setAttribute(key, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const runColour = (run) => `var(--run-${run % kColours})`;
  const swatch = (run) => element("span", { class: "swatch", style: { background: runColour(run) } });

  function count(value) {
    const units = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];
    for (const [size, unit] of units) {
      if (Math.abs(value) >= size) return String(Number((value / size).toPrecision(3))) + unit;
    }
    return String(Number(value.toPrecision(3)));
  }

  function number(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e5 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  }

  const axisText = (axis, value) => (axis.unit === "tokens" ? count(value) : number(value));

  // --- tables, findings, prose, meters -------------------------------------------------------------------------------

  function table(block) {
    const side = (column) => (block.right && block.right[column] ? { class: "right" } : {});
    const head = element("tr", {}, ...block.head.map((text, i) => element("th", side(i), text)));
    const rows = block.rows.map((row) =>
      element("tr", {}, ...row.cells.map((text, i) => {
        const cell = element("td", { ...side(i), "data-head": block.head[i] });
        if (i === 0 && row.run !== undefined) cell.append(swatch(row.run));
        cell.append(i === 0 || text !== "" ? element("span", {}, text) : "–");
        return cell;
      })));
    const node = element("table", { class: "wide" }, element("thead", {}, head), element("tbody", {}, ...rows));
    if (!block.fold) return node;
    return element("details", {}, element("summary", {}, block.fold), node);
  }

  function findings(block) {
    return element("ul", { class: "findings wide" }, ...block.items.map((text) => element("li", {}, text)));
  }

  function prose(block) {
    return element("dl", { class: "wide" },
      ...block.items.flatMap((item) => [element("dt", {}, item.term), element("dd", {}, item.text)]));
  }

  function figure(block, ...content) {
    const head = element("div", { class: "head" }, element("h3", {}, block.title));
    const node = element("figure", block.wide ? { class: "wide" } : {}, head, ...content);
    if (block.note) node.append(element("figcaption", {}, block.note));
    return node;
  }

  function meters(block) {
    return figure(block, ...block.items.map((item) => {
      const share = Math.max(0, Math.min(1, item.share));
      const style = { width: `${100 * share}%`, background: runColour(item.run) };
      return element("div", { class: "meter" },
        element("span", { class: "name" }, item.name), element("span", {}, item.text),
        element("div", { class: "track", role: "img", "aria-label": `${item.name}: ${item.text}` },
          element("div", { class: "fill", style })));
    }));
  }

  // --- charts --------------------------------------------------------------------------------------------------------

  // The nearest point of each series: runs are not logged at the same x.
  Chart.Interaction.modes.nearestEach = (chart, event) => {
    const { x } = Chart.helpers.getRelativePosition(event, chart);
    return chart.getSortedVisibleDatasetMetas().flatMap((meta) => {
      let best = -1;
      meta.data.forEach((point, i) => {
        if (!point.skip && (best < 0 || Math.abs(point.x - x) < Math.abs(meta.data[best].x - x))) best = i;
      });
      return best < 0 ? [] : [{ element: meta.data[best], datasetIndex: meta.index, index: best }];
    });
  };

  // Two standard errors up and down, where a series has them.
  const whiskers = {
    id: "whiskers",
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: area, scales: { y } } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left - 8, area.top, area.width + 16, area.height);
      ctx.clip();
      for (const meta of chart.getSortedVisibleDatasetMetas()) {
        const set = chart.data.datasets[meta.index];
        ctx.strokeStyle = css("--ink");
        ctx.globalAlpha = 0.55;
        ctx.lineWidth = 1;
        meta.data.forEach((point, i) => {
          const { y: value, error } = set.data[i];
          if (value === null || !(error > 0)) return;
          const low = y.type === "logarithmic" ? Math.max(value - 2 * error, y.min) : value - 2 * error;
          ctx.beginPath();
          ctx.moveTo(point.x, y.getPixelForValue(low));
          ctx.lineTo(point.x, y.getPixelForValue(value + 2 * error));
          ctx.stroke();
        });
      }
      ctx.restore();
    },
  };

  function dataset(block, state, series) {
    const colour = css(`--run-${series.run % kColours}`);
    const bar = block.type === "bar";
    // What a log axis can't show is left out.
    const shown = (y) => (state["log-y"] && !(y > 0) ? null : y);
    const points = series.points.map(([x, y], i) => ({ x, y: shown(y), error: series.errors && series.errors[i] }))
      .filter((point) => !state["log-x"] || point.x > 0);
    return {
      label: series.label,
      legend: series.legend === undefined ? series.label : series.legend,
      run: series.run,
      hidden: state.hidden.has(series.run),
      data: points,
      clip: 8,
      borderColor: colour,
      backgroundColor: bar || series.dots ? colour : "transparent",
      borderWidth: bar ? 0 : series.faint ? 1 : 1.75,
      borderDash: series.run >= kColours ? [6, 3] : [],
      pointStyle: bar ? "rect" : series.dots ? kShapes[series.run % kShapes.length] : "line",
      pointRadius: series.dots && points.length <= 60 ? 3 : 0,
      pointHoverRadius: series.dots ? 5 : 3,
      categoryPercentage: 0.8,
      barPercentage: 0.95,
    };
  }

  function logTick(scale, value) {
    const decades = Math.log10(scale.max / scale.min);
    const lead = value / 10 ** Math.floor(Math.log10(value) + 1e-9);
    const wanted = decades > 2.5 ? [1] : decades > 1 ? [1, 2, 5] : [1, 2, 3, 4, 5, 7];
    return wanted.some((digit) => Math.abs(lead - digit) < 1e-6);
  }

  function axis(settings, log) {
    const grid = (context) => {
      if (context.tick && context.tick.value === 0 && settings.zero) return css("--axis");
      return context.tick && context.tick.label === "" ? "transparent" : css("--grid");
    };
    return {
      type: log ? "logarithmic" : "linear",
      title: { display: true, text: settings.title, color: css("--muted"), font: { size: 12 } },
      grid: { color: grid, borderColor: css("--axis"), tickLength: 4 },
      ticks: {
        color: css("--muted"),
        includeBounds: false,
        autoSkip: !log,
        maxRotation: 0,
        autoSkipPadding: 16,
        callback(value) {
          if (log && !logTick(this, value)) return "";
          return axisText(settings, value);
        },
      },
    };
  }

  function tooltip(block) {
    return {
      backgroundColor: css("--ink"),
      titleColor: css("--paper"),
      bodyColor: css("--paper"),
      padding: 10,
      usePointStyle: true,
      callbacks: {
        title: (items) => (items.length ? `${axisText(block.x, items[0].parsed.x)} ${block.x.unit}` : "")
          .replace(/^(.*) layer$/, "layer $1"),
        label: (item) => {
          const { error } = item.raw;
          const tail = error > 0 ? ` ± ${number(2 * error)}` : "";
          return ` ${item.dataset.label}: ${number(item.parsed.y)}${tail}`;
        },
      },
    };
  }

  /// From the first to the last x of the series that are shown; layers get half a layer of room.
  function xRange(block, state) {
    const values = block.series.flatMap((series) => series.points.map((point) => point[0]));
    const last = Math.max(...values);
    if (block.x.unit === "layer") return { min: Math.min(...values) - 0.5, max: last + 0.5 };
    const first = state["log-x"] ? Math.min(...values.filter((value) => value > 0)) : 0;
    return { min: state.tail ? last / 2 : first, max: last };
  }

  /// What is in sight, whiskers included, and a little room.
  function yRange(block, state, x) {
    const log = state["log-y"];
    const values = block.series.filter((series) => !state.hidden.has(series.run))
      .flatMap((series) => series.points.flatMap(([at, y], i) => {
        if (y === null || at < x.min || at > x.max) return [];
        const error = series.errors && series.errors[i] > 0 && !log ? 2 * series.errors[i] : 0;
        return [y - error, y + error];
      })).filter((value) => !log || value > 0);
    if (block.y.zero && !log) values.push(0);
    const low = Math.min(...values);
    const high = Math.max(...values);
    if (!(high > low)) return {};
    const room = log ? (high / low) ** 0.05 : 0.04 * (high - low);
    if (log) return { min: low / room, max: high * room };
    return { min: block.type === "bar" && low === 0 ? 0 : low - room, max: high + room };
  }

  /// Layer 1, every so many, and no two closer than their labels are wide.
  function layerTicks(scale, width) {
    const last = Math.floor(scale.max);
    const step = [1, 2, 4, 5, 8, 10, 16, 20, 25, 50, 100].find((n) => (last / n) * 34 <= width) || 200;
    const ticks = [{ value: 1 }];
    for (let layer = step; layer <= last; layer += step) {
      if ((layer - 1) * (width / last) >= 20) ticks.push({ value: layer });
    }
    return ticks;
  }

  function legend(entry) {
    return {
      align: "start",
      labels: {
        color: css("--ink"),
        usePointStyle: true,
        boxWidth: 7,
        boxHeight: 7,
        padding: 14,
        font: { size: 13 },
        generateLabels: (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart)
          .map((item) => ({ ...item, text: chart.data.datasets[item.datasetIndex].legend }))
          .filter((item) => item.text !== ""),
      },
      onClick: (event, item) => {
        const { run } = entry.chart.data.datasets[item.datasetIndex];
        if (!entry.state.hidden.delete(run)) entry.state.hidden.add(run);
        draw(entry);
      },
    };
  }

  // Chart.js puts the legend right on the plot.
  const legendGap = {
    id: "legendGap",
    beforeInit(chart) {
      const fit = chart.legend.fit;
      chart.legend.fit = function fitWithGap() {
        fit.call(this);
        this.height += 8;
      };
    },
  };

  function chartOptions(entry) {
    const { block, state, canvas } = entry;
    const x = { ...axis(block.x, state["log-x"]), ...xRange(block, state) };
    if (block.x.unit === "layer") {
      x.offset = false;
      x.grid.display = false;
      x.ticks.autoSkip = false;
      x.afterBuildTicks = (scale) => { scale.ticks = layerTicks(scale, canvas.parentNode.clientWidth - 50); };
    }
    return {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      layout: { padding: { top: 2, right: 8 } },
      interaction: { mode: "nearestEach", axis: "x", intersect: false },
      scales: { x, y: { ...axis(block.y, state["log-y"]), ...yRange(block, state, x) } },
      plugins: { legend: legend(entry), tooltip: tooltip(block) },
    };
  }

  function draw(entry) {
    if (entry.chart) entry.chart.destroy();
    const { block, state, canvas } = entry;
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    entry.chart = new Chart(canvas, {
      type: block.type,
      data: { datasets: block.series.map((series) => dataset(block, state, series)) },
      options: chartOptions(entry),
      plugins: [whiskers, legendGap],
    });
  }

  const kToggles = { "log-x": "Log x", "log-y": "Log y", tail: "Second half" };

  function chart(block) {
    const labels = block.series.map((series) => series.label).join(", ");
    const canvas = element("canvas", { role: "img", "aria-label": `${block.title}: ${labels}` });
    const node = figure(block, element("div", { class: "canvas" }, canvas));
    const state = { "log-x": Boolean(block.x.log), "log-y": Boolean(block.y.log), tail: false, hidden: new Set() };
    const entry = { block, state, canvas, chart: null };
    charts.push(entry);
    const buttons = (block.toggles || []).map((key) => {
      const button = element("button", { type: "button", "aria-pressed": String(state[key]) }, kToggles[key]);
      button.addEventListener("click", () => {
        state[key] = !state[key];
        button.setAttribute("aria-pressed", String(state[key]));
        draw(entry);
      });
      return button;
    });
    if (buttons.length) node.querySelector(".head").append(element("div", { class: "toggles" }, ...buttons));
    return node;
  }

  // --- heat maps -----------------------------------------------------------------------------------------------------

  function viridis(share) {
    const place = Math.max(0, Math.min(1, share)) * (kViridis.length - 1);
    const left = Math.min(Math.floor(place), kViridis.length - 2);
    const channel = (i) => {
      const [a, b] = [left, left + 1].map((stop) => parseInt(kViridis[stop].slice(1 + 2 * i, 3 + 2 * i), 16));
      return Math.round(a + (b - a) * (place - left));
    };
    return `rgb(${channel(0)},${channel(1)},${channel(2)})`;
  }

  function heatMap(map, shareOf, readout, valueName) {
    const layers = map.columns[0].values.length;
    const svgName = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(svgName, "svg");
    svg.setAttribute("viewBox", `0 0 ${map.columns.length} ${layers}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("shape-rendering", "crispEdges");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${valueName} of each layer over training, ${map.name}`);
    map.columns.forEach((column, x) => column.values.forEach((value, y) => {
      if (value === null) return;
      const cell = document.createElementNS(svgName, "rect");
      for (const [key, text] of Object.entries({ x, y, width: 1, height: 1, fill: viridis(shareOf(value)) })) {
        cell.setAttribute(key, text);
      }
      const title = document.createElementNS(svgName, "title");
      title.textContent = `${map.name}, layer ${y + 1}, ${count(column.tokens)} tokens: ${valueName} ${number(value)}`;
      cell.append(title);
      svg.append(cell);
    }));
    svg.addEventListener("pointerover", (event) => {
      const title = event.target.querySelector("title");
      if (title) readout.textContent = title.textContent;
    });
    const ends = (...texts) => texts.map((text) => element("span", {}, text));
    const last = map.columns[map.columns.length - 1];
    return element("div", { class: "map" },
      element("div", { class: "name" }, swatch(map.run), map.name),
      element("div", { class: "layers" }, ...ends("layer 1", String(Math.ceil(layers / 2)), `layer ${layers}`)), svg,
      element("div", { class: "steps" }, ...ends(count(map.columns[0].tokens), `${count(last.tokens)} tokens`)));
  }

  function heat(block) {
    const values = block.maps.flatMap((map) => map.columns.flatMap((column) => column.values))
      .filter((value) => value > 0);
    const low = Math.log(Math.min(...values));
    const high = Math.log(Math.max(...values));
    const shareOf = (value) => (value > 0 && high > low ? (Math.log(value) - low) / (high - low) : 0);
    const ends = [low, high].map((value) => String(Number(Math.exp(value).toPrecision(2))));
    const readout = element("p", { class: "readout" }, "Point at a cell to read its value.");
    const gradient = `linear-gradient(90deg, ${kViridis.join(", ")})`;
    const ramp = element("div", { class: "ramp", style: { background: gradient } });
    return figure(block,
      element("div", { class: "maps" }, ...block.maps.map((map) => heatMap(map, shareOf, readout, block.value))),
      element("div", { class: "scale" },
        element("span", {}, ends[0]), ramp, element("span", {}, `${ends[1]} (log scale)`)),
      readout);
  }

  // --- the page ------------------------------------------------------------------------------------------------------

  const kBlocks = { table, findings, prose, meters, chart, heat };

  page.append(element("header", {}, element("p", { class: "brand" }, "Fathom"), element("h1", {}, data.title),
    element("p", { class: "subtitle" }, data.subtitle)));
  for (const section of data.sections) {
    page.append(element("section", {}, section.title ? element("h2", {}, section.title) : null,
      section.intro ? element("p", { class: "intro" }, section.intro) : null,
      element("div", { class: "blocks" }, ...section.blocks.map((block) => kBlocks[block.kind](block)))));
  }
  page.append(element("footer", {}, data.footer));

  charts.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));
  document.documentElement.dataset.charts = String(charts.length + document.querySelectorAll(".map svg").length);
})();
