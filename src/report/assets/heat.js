// Heat maps, drawn on a canvas (a matrix of 100 layers has 10,000 cells); page.h documents their keys. Cells are read
// by the pointer, by touch, or by the arrow keys.
fathomPage.heat = (() => {
  "use strict";

  const { element, css, swatch, number, shorten, figure, toggles, drawings } = fathomPage;
  const kViridis = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
  const kToggles = { log: "Log colours" };
  const kLeft = 46;  // Room for the labels of rows, and of columns below.
  const kBelow = 40;
  const kTop = 6;
  const kFont = 11;

  function viridis(share) {
    const place = Math.max(0, Math.min(1, share)) * (kViridis.length - 1);
    const left = Math.min(Math.floor(place), kViridis.length - 2);
    const channel = (i) => {
      const [a, b] = [left, left + 1].map((stop) => parseInt(kViridis[stop].slice(1 + 2 * i, 3 + 2 * i), 16));
      return Math.round(a + (b - a) * (place - left));
    };
    return `rgb(${channel(0)},${channel(1)},${channel(2)})`;
  }

  /// All maps of a block share one scale, so that their colours can be compared.
  function scaleOf(block, log) {
    const values = block.maps.flatMap((map) => map.values.flat()).filter((value) => value !== null && (!log || value > 0));
    const of = (value) => (log ? Math.log(value) : value);
    const top = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const bottom = values.reduce((a, b) => Math.min(a, b), Infinity);
    const low = log ? bottom : Math.min(0, bottom);
    const span = of(top) - of(low);
    return { low, high: top, share: (value) => (span > 0 && (!log || value > 0) ? (of(value) - of(low)) / span : 0) };
  }

  /// Which labels are drawn: the ends, or every so many.
  function tickPlaces(labels, length, ends) {
    if (ends) return labels.length > 1 ? [0, labels.length - 1] : [0];
    const step = [1, 2, 4, 5, 10, 20, 25, 50, 100].find((n) => (labels.length / n) * 24 <= length) || 200;
    const first = Number(labels[0]);
    return labels.map((_, i) => i)
      .filter((i) => i === 0 || (labels[i] % step === 0 && labels[i] - first >= 0.75 * step));
  }

  function text(block, map, row, column) {
    const value = map.values[row][column];
    const x = map.x[column];
    const y = map.y[row];
    const where = block.cell.replace("{x+y}", () => String(x + y)).replace("{x}", () => String(x))
      .replace("{y}", () => String(y));
    return `${where}: ${block.value} ${value === null ? "not known" : number(value) + (block.suffix || "")}`;
  }

  /// The geometry of a map on its canvas, in CSS pixels.
  function layOut(block, map, width) {
    const columns = map.x.length;
    const rows = map.y.length;
    const plotWidth = width - kLeft - 2;
    const height = block.square ? Math.max(24 * Math.min(rows, 2), Math.min(plotWidth * (rows / columns), 480)) : 230;
    // A square map keeps its shape; one of few cells does not become a poster.
    const cell = Math.min(plotWidth / columns, 64);
    const used = block.square ? Math.min(columns * cell, height * (columns / rows)) : plotWidth;
    const tall = block.square ? Math.min(height, used * (rows / columns)) : height;
    const top = (row) => kTop + (block.y.up ? rows - 1 - row : row) * (tall / rows);
    return { columns, rows, used, tall, height: tall + kTop + kBelow, cellWidth: used / columns, cellHeight: tall / rows,
      left: (column) => kLeft + column * (used / columns), top };
  }

  function drawAxes(context, block, map, plot) {
    context.fillStyle = css("--muted");
    context.font = `${kFont}px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const row of tickPlaces(map.y, plot.tall, false)) {
      context.fillText(String(map.y[row]), kLeft - 6, plot.top(row) + plot.cellHeight / 2);
    }
    context.textBaseline = "top";
    const below = kTop + plot.tall;
    for (const column of tickPlaces(map.x, plot.used, block.x.ends)) {
      const ends = block.x.ends && map.x.length > 1;
      context.textAlign = !ends ? "center" : column === 0 ? "left" : "right";
      const shift = !ends ? plot.cellWidth / 2 : column === 0 ? 0 : plot.cellWidth;
      context.fillText(String(map.x[column]), plot.left(column) + shift, below + 5);
    }
    context.textAlign = "center";
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    context.fillText(block.x.title, kLeft + plot.used / 2, below + 21, plot.used + 40);
    context.save();
    context.translate(7, kTop + plot.tall / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "middle";
    context.fillText(block.y.title, 0, 0, plot.tall + 40);
    context.restore();
  }

  function drawCells(context, map, plot, scale) {
    for (let row = 0; row < plot.rows; ++row) {
      const y = Math.round(plot.top(row));
      const height = Math.round(plot.top(row) + plot.cellHeight) - y;
      for (let column = 0; column < plot.columns; ++column) {
        const value = map.values[row][column];
        if (value === null) continue;
        const x = Math.round(plot.left(column));
        context.fillStyle = viridis(scale.share(value));
        context.fillRect(x, y, Math.round(plot.left(column) + plot.cellWidth) - x, height);
      }
    }
  }

  /// White dots with a dark rim, which stand out on every colour.
  function drawMarks(context, map, plot) {
    const radius = Math.max(1.2, Math.min(3.5, Math.min(plot.cellWidth, plot.cellHeight) / 4));
    for (const [column, row] of map.marks || []) {
      context.beginPath();
      context.arc(plot.left(column) + plot.cellWidth / 2, plot.top(row) + plot.cellHeight / 2, radius, 0, 2 * Math.PI);
      context.fillStyle = "#ffffff";
      context.strokeStyle = "#00000099";
      context.fill();
      context.stroke();
    }
  }

  function drawFocus(context, entry) {
    if (!entry.at) return;
    const { plot } = entry;
    const [row, column] = entry.at;
    context.lineWidth = 2;
    context.strokeStyle = css("--ink");
    context.strokeRect(plot.left(column) - 1, plot.top(row) - 1, plot.cellWidth + 2, plot.cellHeight + 2);
    context.strokeStyle = css("--paper");
    context.lineWidth = 1;
    context.strokeRect(plot.left(column) - 2.5, plot.top(row) - 2.5, plot.cellWidth + 5, plot.cellHeight + 5);
  }

  function draw(entry) {
    const { block, map, canvas, state } = entry;
    const width = canvas.parentNode.clientWidth;
    if (width === 0) return;
    const plot = layOut(block, map, width);
    const ratio = Math.max(2, window.devicePixelRatio || 1);  // Printers are finer than screens.
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(plot.height * ratio);
    canvas.style.aspectRatio = `${width} / ${plot.height}`;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    entry.plot = plot;
    entry.width = width;
    drawCells(context, map, plot, scaleOf(block, state.log));
    drawMarks(context, map, plot);
    drawAxes(context, block, map, plot);
    drawFocus(context, entry);
  }

  /// Points out a cell, or (null) none.
  function show(entry, at) {
    const same = at && entry.at && at[0] === entry.at[0] && at[1] === entry.at[1];
    if (same || (!at && !entry.at)) return;
    entry.at = at;
    draw(entry);
    entry.tip.hidden = !at;
    if (!at) return;
    const { plot, map, block, tip } = entry;
    tip.textContent = text(block, map, ...at);
    const x = plot.left(at[1]) + plot.cellWidth / 2;
    const room = entry.width - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(room, x - tip.offsetWidth / 2))}px`;
    tip.style.top = `${Math.max(0, plot.top(at[0]) - tip.offsetHeight - 8)}px`;
  }

  function cellAt(entry, event) {
    const { plot, canvas, map } = entry;
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - kLeft) / plot.cellWidth);
    const fromTop = Math.floor((event.clientY - box.top - kTop) / plot.cellHeight);
    const row = entry.block.y.up ? plot.rows - 1 - fromTop : fromTop;
    const inside = row >= 0 && row < plot.rows && column >= 0 && column < plot.columns;
    return inside && map.values[row][column] !== null ? [row, column] : null;
  }

  /// The next cell that way which has a value.
  function step(entry, key) {
    const up = entry.block.y.up ? 1 : -1;
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [up, 0], ArrowDown: [-up, 0] }[key];
    const { map } = entry;
    const has = (row, column) => map.values[row] && map.values[row][column] !== null
      && map.values[row][column] !== undefined;
    if (!entry.at) {
      const row = map.values.findIndex((values) => values.some((value) => value !== null));
      return row < 0 ? null : [row, map.values[row].findIndex((value) => value !== null)];
    }
    let [row, column] = entry.at;
    do {
      row += move[0];
      column += move[1];
      if (row < 0 || column < 0 || row >= map.y.length || column >= map.x.length) return entry.at;
    } while (!has(row, column));
    return [row, column];
  }

  function heatMap(block, map, state) {
    const canvas = element("canvas", { role: "img", tabindex: "0",
      "aria-label": `${block.title}, ${map.name}. Arrow keys walk through the cells.` });
    const tip = element("div", { class: "tip", role: "status" });
    tip.hidden = true;
    const entry = { block, map, canvas, state, tip, at: null, plot: null };
    canvas.addEventListener("pointermove", (event) => show(entry, cellAt(entry, event)));
    canvas.addEventListener("pointerdown", (event) => show(entry, cellAt(entry, event)));
    canvas.addEventListener("pointerleave", () => show(entry, null));
    canvas.addEventListener("blur", () => show(entry, null));
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Escape") show(entry, null);
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
      show(entry, step(entry, event.key));
    });
    drawings.push(() => draw(entry));
    new ResizeObserver(() => {
      if (canvas.parentNode.clientWidth !== entry.width) draw(entry);
    }).observe(canvas);
    const name = block.maps.length > 1 ? element("div", { class: "name" }, swatch(map.run), shorten(map.name, 60)) : null;
    return [element("div", { class: "map" }, name, element("div", { class: "plot" }, canvas, tip)), entry];
  }

  return function heat(block) {
    const state = { log: Boolean(block.log) };
    const made = block.maps.map((map) => heatMap(block, map, state));
    const ends = [element("span", {}), element("span", {})];
    const scale = () => {
      const { low, high } = scaleOf(block, state.log);
      const suffix = block.suffix || "";
      ends[0].textContent = Number.isFinite(low) ? number(Number(low.toPrecision(2))) + suffix : "";
      ends[1].textContent = Number.isFinite(high)
        ? `${number(Number(high.toPrecision(2)))}${suffix} ${block.value}${state.log ? " (log scale)" : ""}` : "no values";
    };
    scale();
    const ramp = element("div", { class: "ramp", style: { background: `linear-gradient(90deg, ${kViridis.join(", ")})` } });
    const node = figure(block, element("div", { class: "maps" }, ...made.map(([map]) => map)),
      element("div", { class: "scale" }, ends[0], ramp, ends[1]));
    if (block.toggles) {
      node.querySelector(".head").append(toggles(block.toggles, kToggles, state, () => {
        scale();
        made.forEach(([, entry]) => draw(entry));
      }));
    }
    return node;
  };
})();
