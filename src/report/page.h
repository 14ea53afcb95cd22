#pragma once
// One self-contained HTML page: data, styles, Chart.js and the script that draws are all inside, and nothing
// is fetched. The library holds the assets (embedded at build time), so that an installed binary needs no
// other file.
//
// The data of a page, as assets/*.js draw it; `run` is the index of a model, which is its colour everywhere:
//   {"title", "subtitle", "footer", "sections": [{"title", "intro", "blocks": [block]}],
//    "definitions": [{"keys", "term", "formula", "text", "source"}]}
// A block is one of
//   {"kind": "headline", "items": [{"run", "name": text or "", "lead": text, "more": [text]}]}
//   {"kind": "table", "head": [text], "right": [bool], "rows": [{"run"?, "cells": [text]}], "fold"?: text,
//    "scroll"?: too wide for a page}
//   {"kind": "findings", "items": [text]}
//   {"kind": "prose", "items": [{"term", "text"}]}
//   {"kind": "definitions"}: those that a block of the page refers to
// or a panel, which has "title", "note", "wide"? and "define"?: [index in definitions], and is one of
//   {"kind": "meters", "items": [{"run", "name", "share": 0 to 1, "text"}]}
//   {"kind": "chart", "type": "line" | "bar",
//    "x": {"title", "unit": "tokens" | "layer", "log"?, "relative"?: by share of the model's depth},
//    "y": {"title", "log"?, "zero"?: zero is in sight, "line"?: a level to compare with, "suffix"?: unit},
//    "toggles"?: ["log-x", "log-y", "tail", "relative"],
//    "series": [{"run", "label", "legend"?: text (default the label, "" for none), "layers"?: of the model,
//                "colour"?: another run's, "dots"?, "faint"?, "dash"?, "points": [[x, y or null]],
//                "errors"?: [standard error]}]}
//   {"kind": "heat", "value": name, "suffix"?: unit, "log"?: colours by the logarithm, "square"?: cells are,
//    "x": {"title", "ends"?: only the ends have labels}, "y": {"title", "up"?: the first row is the lowest},
//    "cell": where a cell is, with {x}, {y} and {x+y} for its labels, "toggles"?: ["log"],
//    "maps": [{"run", "name", "x": [label], "y": [label], "values": [row of number or null],
//              "marks"?: [[column, row]]}]}

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace fathom {

/// The page. `data` may hold any text: what could end a script element is escaped.
std::string render_page(const nlohmann::json& data);

/// `value` as JSON that may stand inside a <script> element: <, > and & as \u escapes, ASCII only.
std::string json_for_html(const nlohmann::json& value);

}  // namespace fathom
