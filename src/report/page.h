#pragma once
// One self-contained HTML page: data, styles, Chart.js and the script that draws are all inside, and nothing
// is fetched. The library holds the assets (embedded at build time), so that an installed binary needs no
// other file.
//
// The data of a page, as assets/page.js draws it; `run` is the index of a run, which is its colour
// everywhere:
//   {"title", "subtitle", "footer", "sections": [{"title", "intro", "blocks": [block]}]}
// A block is one of
//   {"kind": "table", "head": [text], "right": [bool], "rows": [{"run"?, "cells": [text]}], "fold"?: text}
//   {"kind": "findings", "items": [text]}
//   {"kind": "prose", "items": [{"term", "text"}]}
//   {"kind": "meters", "title", "note", "items": [{"run", "name", "share": 0 to 1, "text"}]}
//   {"kind": "chart", "type": "line" | "bar", "title", "note", "wide"?, "x": {"title", "unit": "tokens" |
//   "layer", "log"?},
//    "y": {"title", "log"?, "zero"?}, "toggles"?: ["log-x", "log-y", "tail"],
//    "series": [{"run", "label", "legend"?: text (default the label, "" for none), "dots"?, "faint"?,
//                "points": [[x, y or null]], "errors"?: [standard error]}]}
//   {"kind": "heat", "title", "note", "wide"?, "value": name,
//    "maps": [{"run", "name", "columns": [{"tokens", "values": [one a layer, or null]}]}]}

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fathom {

/// The page. `data` may hold any text: what could end a script element is escaped.
std::string render_page(const nlohmann::json& data);

/// `value` as JSON that may stand inside a <script> element: <, > and & as \u escapes, ASCII only.
std::string json_for_html(const nlohmann::json& value);

}  // namespace fathom
