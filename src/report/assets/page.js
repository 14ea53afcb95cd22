// Puts the page together from the JSON in #data; page.h documents its keys. When all is drawn, <html data-charts="N">
// says how many charts and heat maps there are.
(() => {
  "use strict";

  const { data, element, runColour, swatch, prose: withFormulas, definitions, figure, chart, heat, drawings } = fathomPage;
  const page = document.getElementById("page");

  function headline(block) {
    return element("div", { class: "headline wide" }, ...block.items.map((item) => element("div", {},
      item.name ? element("span", { class: "name" }, swatch(item.run), item.name) : null,
      element("p", { class: "lead" }, item.lead), ...item.more.map((text) => element("p", {}, text)))));
  }

  function table(block) {
    const side = (column) => (block.right && block.right[column] ? { class: "right" } : {});
    const head = element("tr", {}, ...block.head.map((text, i) => element("th", { scope: "col", ...side(i) }, text)));
    const rows = block.rows.map((row) =>
      element("tr", {}, ...row.cells.map((text, i) => {
        const cell = element("td", { ...side(i), "data-head": block.head[i] });
        if (i === 0 && row.run !== undefined) cell.append(swatch(row.run));
        cell.append(i === 0 || text !== "" ? element("span", {}, text) : "\u2013");
        return cell;
      })));
    let node = element("table", { class: "wide" }, element("thead", {}, head), element("tbody", {}, ...rows));
    // A table wider than the page scrolls by itself, by the keyboard too.
    if (block.scroll) {
      node.className = "values";
      node = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": block.fold }, node);
    }
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

  /// The definitions that some block of the page refers to.
  function glossary() {
    const used = data.sections.flatMap((section) => section.blocks.flatMap((block) => block.define || []));
    const node = definitions([...new Set(used)].sort((a, b) => a - b));
    node.classList.add("wide");
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

  // The definitions' own letters are formulas; elsewhere an underscore may belong to a name.
  const intro = (section) =>
    (section.blocks.some((block) => block.kind === "definitions") ? withFormulas(section.intro) : [section.intro]);

  const kBlocks = { headline, table, findings, prose, definitions: glossary, meters, chart, heat };
  const idOf = (title) => title.toLowerCase().replace(/[^a-z]+/g, "-");
  const titled = data.sections.filter((section) => section.title);

  page.append(element("header", {}, element("p", { class: "brand" }, "Fathom"), element("h1", {}, data.title),
    element("p", { class: "subtitle" }, data.subtitle),
    element("nav", { "aria-label": "On this page" },
      ...titled.map((section) => element("a", { href: `#${idOf(section.title)}` }, section.title)))));
  for (const section of data.sections) {
    page.append(element("section", section.title ? { id: idOf(section.title) } : {},
      section.title ? element("h2", {}, section.title) : null,
      section.intro ? element("p", { class: "intro" }, ...intro(section)) : null,
      element("div", { class: "blocks" }, ...section.blocks.map((block) => kBlocks[block.kind](block)))));
  }
  page.append(element("footer", {}, data.footer));

  const drawAll = () => drawings.forEach((draw) => draw());
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  // On paper everything is light, and as wide as the paper; folded tables stay folded, since they are wider than that.
  for (const [event, theme] of [["beforeprint", "paper"], ["afterprint", ""]]) {
    addEventListener(event, () => {
      document.documentElement.dataset.theme = theme;
      drawAll();
    });
  }
  document.documentElement.dataset.charts = String(drawings.length);
})();
