// Charts over tokens or layers, drawn by Chart.js; page.h documents their keys.
fathomPage.chart = (() => {
  "use strict";

  const { kColours, element, css, count, number, shorten, figure, toggles, drawings } = fathomPage;
  const kShapes = ["circle", "triangle", "rect", "rectRot", "star", "crossRot", "cross", "rectRounded"];
  const kToggles = { "log-x": "Log x", "log-y": "Log y", tail: "Second half", relative: "Relative depth" };
  const axisText = (axis, value) => (axis.unit === "tokens" ? count(value) : number(value));

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

  // A level to compare with, such as the usefulness of a layer that counts.
  const level = {
    id: "level",
    beforeDatasetsDraw(chart, _, { value }) {
      const { ctx, chartArea: area, scales: { y } } = chart;
      if (value === undefined || value < y.min || value > y.max) return;
      ctx.save();
      ctx.strokeStyle = css("--axis");
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(area.left, y.getPixelForValue(value));
      ctx.lineTo(area.right, y.getPixelForValue(value));
      ctx.stroke();
      ctx.restore();
    },
  };

  /// Where a point stands: at its layer, or at the layer's share of the model's depth.
  const placeOf = (series, state, x) => (state.relative && series.layers ? x / series.layers : x);

  function dataset(block, state, series) {
    const mark = series.colour === undefined ? series.run : series.colour;
    const colour = css(`--run-${mark % kColours}`);
    const bar = block.type === "bar";
    // What a log axis can't show is left out.
    const shown = (y) => (state["log-y"] && !(y > 0) ? null : y);
    const points = series.points.map(([x, y], i) => (
      { x: placeOf(series, state, x), y: shown(y), layer: x, error: series.errors && series.errors[i] }))
      .filter((point) => !state["log-x"] || point.x > 0);
    return {
      label: series.label,
      legend: series.legend === undefined ? series.label : series.legend,
      run: series.run,
      hidden: state.hidden.has(series.run),
      data: points,
      clip: 8,
      borderColor: colour,
      backgroundColor: bar && series.dash ? `${colour}80` : bar || series.dots ? colour : "transparent",
      borderWidth: bar ? 0 : series.faint || !series.dots ? 1 : 1.75,
      borderDash: series.dash || series.run >= kColours ? [5, 3] : [],
      pointStyle: bar ? "rect" : series.dots ? kShapes[(mark + (series.dash ? 1 : 0)) % kShapes.length] : "line",
      pointRadius: series.dots && points.length <= 60 ? (points.length <= 40 ? 3 : 2) : 0,
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

  function axis(settings, log, title = settings.title) {
    const grid = (context) => {
      if (context.tick && context.tick.value === 0 && settings.zero) return css("--axis");
      return context.tick && context.tick.label === "" ? "transparent" : css("--grid");
    };
    return {
      type: log ? "logarithmic" : "linear",
      title: { display: true, text: title, color: css("--muted"), font: { size: 12 } },
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

  function tooltip(block, state) {
    const layers = block.x.unit === "layer";
    const place = (item) => {
      if (!layers) return `${axisText(block.x, item.parsed.x)} ${block.x.unit}`;
      return item.raw.layer === 0 ? "embedding" : `layer ${item.raw.layer}`;
    };
    return {
      backgroundColor: css("--ink"),
      titleColor: css("--paper"),
      bodyColor: css("--paper"),
      padding: 10,
      usePointStyle: true,
      callbacks: {
        title: (items) => {
          if (!items.length) return "";
          return state.relative ? `depth ${number(items[0].parsed.x)}` : place(items[0]);
        },
        label: (item) => {
          const { error } = item.raw;
          const suffix = block.y.suffix || "";
          const tail = error > 0 ? ` ± ${number(error)}${suffix} (one standard error)` : "";
          const name = shorten(item.dataset.label, 36) + (state.relative ? `, ${place(item)}` : "");
          return ` ${name}: ${number(item.parsed.y)}${suffix}${tail}`;
        },
      },
    };
  }

  /// From the first to the last x of the series that are shown; layers get half a layer of room.
  function xRange(block, state) {
    if (state.relative) return { min: -0.02, max: 1.02 };
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
      .flatMap((series) => series.points.flatMap(([layer, y], i) => {
        const at = placeOf(series, state, layer);
        if (y === null || at < x.min || at > x.max) return [];
        const error = series.errors && series.errors[i] > 0 && !log ? 2 * series.errors[i] : 0;
        return [y - error, y + error];
      })).filter((value) => !log || value > 0);
    if (block.y.zero && !log) values.push(0);
    if (block.y.line !== undefined) values.push(block.y.line);
    const low = Math.min(...values);
    const high = Math.max(...values);
    if (!(high > low)) return high > 0 && log ? { min: high / 2, max: high * 2 } : {};
    const room = log ? (high / low) ** 0.05 : 0.04 * (high - low);
    if (log) return { min: low / room, max: high * room };
    return { min: block.type === "bar" && low === 0 ? 0 : low - room, max: high + room };
  }

  /// The first layer, every so many, and no two closer than their labels are wide. 0 is the embedding.
  function layerTicks(scale, width) {
    const last = Math.floor(scale.max);
    const first = Math.ceil(scale.min);
    const step = [1, 2, 4, 5, 8, 10, 16, 20, 25, 50, 100].find((n) => (last / n) * 34 <= width) || 200;
    const ticks = [{ value: first }];
    for (let layer = step; layer <= last; layer += step) {
      if (layer - first >= 0.75 * step) ticks.push({ value: layer });
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
          .map((item) => ({ ...item, text: shorten(chart.data.datasets[item.datasetIndex].legend, chart.width / 9) }))
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
    const title = state.relative ? "relative depth: layer / layers of the model" : block.x.title;
    const x = { ...axis(block.x, state["log-x"], title), ...xRange(block, state) };
    if (block.x.unit === "layer" && !state.relative) {
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
      plugins: { legend: legend(entry), tooltip: tooltip(block, state), level: { value: block.y.line } },
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
      plugins: [level, whiskers, legendGap],
    });
  }

  /// Left and right walk through the points, as the pointer does.
  function walk(entry, step) {
    const { chart } = entry;
    const meta = chart.getSortedVisibleDatasetMetas()[0];
    if (!meta) return;
    const count = meta.data.length;
    for (let i = 0; i < count; ++i) {  // Gaps are passed over.
      entry.at = entry.at === null ? (step > 0 ? 0 : count - 1) : (entry.at + step + count) % count;
      if (!meta.data[entry.at].skip) break;
    }
    const point = meta.data[entry.at];
    const active = Chart.Interaction.modes.nearestEach(chart, { x: point.x, y: point.y, native: null, type: "mousemove",
      chart });
    chart.setActiveElements(active);
    chart.tooltip.setActiveElements(active, { x: point.x, y: point.y });
    chart.update("none");
  }

  function leave(entry) {
    entry.at = null;
    entry.chart.setActiveElements([]);
    entry.chart.tooltip.setActiveElements([], { x: 0, y: 0 });
    entry.chart.update("none");
  }

  return function chart(block) {
    const labels = block.series.map((series) => series.label).join(", ");
    const canvas = element("canvas", { role: "img", tabindex: "0",
      "aria-label": `${block.title}: ${labels}. Left and right arrow keys walk through the points.` });
    const node = figure(block, element("div", { class: "canvas" }, canvas));
    node.classList.add("chart");
    const state = { "log-x": Boolean(block.x.log), "log-y": Boolean(block.y.log), tail: false,
      relative: Boolean(block.x.relative), hidden: new Set() };
    const entry = { block, state, canvas, chart: null, at: null };
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      walk(entry, step);
    });
    canvas.addEventListener("blur", () => leave(entry));
    drawings.push(() => draw(entry));
    if (block.toggles) {
      node.querySelector(".head").append(toggles(block.toggles, kToggles, state, () => draw(entry)));
    }
    return node;
  };
})();
