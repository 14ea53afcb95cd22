// What the scripts of a page share. Text goes in as textContent only, so that a run's name can't become markup.
const fathomPage = (() => {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const kColours = 8;

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
    const text = size >= 1e5 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
    return text.replace("-", "\u2212").replace(/e\+?(.*)$/, "\u00d710^$1");
  }

  /// A name that fits into so many characters: its middle gives way, since both ends tell models apart.
  function shorten(text, limit) {
    if (text.length <= limit) return text;
    const half = Math.max(3, Math.floor((limit - 1) / 2));
    return `${text.slice(0, half)}\u2026${text.slice(-half)}`;
  }

  /// A formula: _{..}, ^{..}, _x and ^x become sub- and superscripts, single letters variables.
  function formula(text) {
    const node = element("span", { class: "formula" });
    const pattern = /([_^])(?:\{([^}]*)\}|(.))|(\p{L}+)|([^_^\p{L}]+)/gu;
    for (const [, mark, group, single, word, rest] of text.matchAll(pattern)) {
      if (mark) {
        const inner = group === undefined ? single : group;
        node.append(element(mark === "_" ? "sub" : "sup", {}, ...formula(inner).childNodes));
      } else if (word && word.length === 1) {
        node.append(element("var", {}, word));
      } else {
        node.append(word || rest);
      }
    }
    return node;
  }

  /// A text in which `words` are code and h_l, h_{l-1} and d^2 formulas.
  function prose(text) {
    const pattern = /\p{L}[_^](?:\{[^}]*\}|[\p{L}\d])/gu;
    return text.split("`").flatMap((part, i) => {
      if (i % 2) return [element("code", {}, part)];
      const nodes = [];
      let end = 0;
      for (const match of part.matchAll(pattern)) {
        nodes.push(part.slice(end, match.index), formula(match[0]));
        end = match.index + match[0].length;
      }
      return [...nodes, part.slice(end)];
    });
  }

  /// The entry of a definition in a <dl>.
  function definition(item) {
    const keys = element("code", {}, item.keys);
    const source = item.source ? element("span", { class: "source" }, `Source: ${item.source}.`) : null;
    return [element("dt", {}, item.term, " ", keys),
      element("dd", {}, element("p", {}, formula(item.formula)), element("p", {}, ...prose(item.text), ". ", source))];
  }

  function definitions(indices) {
    return element("dl", { class: "definitions" }, ...indices.flatMap((i) => definition(data.definitions[i])));
  }

  /// A titled panel; its definitions are a click away.
  function figure(block, ...content) {
    const head = element("div", { class: "head" }, element("h3", {}, block.title));
    const node = element("figure", block.wide ? { class: "wide" } : {}, head, ...content);
    if (block.note) node.append(element("figcaption", {}, block.note));
    if (block.define) {
      node.append(element("details", { class: "define" }, element("summary", {}, "Definition"),
        definitions(block.define)));
    }
    return node;
  }

  /// A row of switches for a panel's head: `keys` of `names`, kept in `state`.
  function toggles(keys, names, state, redraw) {
    const buttons = keys.map((key) => {
      const button = element("button", { type: "button", "aria-pressed": String(state[key]) }, names[key]);
      button.addEventListener("click", () => {
        state[key] = !state[key];
        button.setAttribute("aria-pressed", String(state[key]));
        redraw();
      });
      return button;
    });
    return element("div", { class: "toggles", role: "group", "aria-label": "How it is drawn" }, ...buttons);
  }

  /// What must be drawn again when the theme or the paper changes: functions.
  const drawings = [];

  return { data, kColours, element, css, runColour, swatch, count, number, shorten, prose, definitions, figure, toggles,
    drawings };
})();
