#pragma once
// Small parts of which the blocks of a page (page.h) are made.

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "report/curves.h"
#include "report/table.h"

namespace fathom {

/// Six digits, which is more than a chart shows and a third of what a double takes in text; null for NaN and
/// infinity.
nlohmann::json compact(double value);

/// [[x, y or null]].
nlohmann::json points_of(const Curve& curve);

/// Terminal text with the typography of a page: "±", "→", and a true minus before a number.
std::string typeset(std::string text);

/// "a", "a and b", "a, b and c".
std::string joined(const std::vector<std::string>& names);

/// A block of sentences.
nlohmann::json findings_block(const std::vector<std::string>& sentences);

/// A table for terminals as a block; row i is of the model `runs[i]`.
nlohmann::json table_block(const Table& table, const std::vector<size_t>& runs);

}  // namespace fathom
