#include "report/blocks.h"

#include <charconv>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace fathom {

using nlohmann::json;

json compact(double value) {
  if (!std::isfinite(value)) return {};
  const std::string text = fmt::format("{:.6g}", value);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

json points_of(const Curve& curve) {
  json out = json::array();
  for (const auto& [x, y] : curve) out.push_back({compact(x), compact(y)});
  return out;
}

std::string typeset(std::string text) {
  for (const auto& [plain, nice] : {std::pair{" +- ", " \u00b1 "}, std::pair{" -> ", " \u2192 "}}) {
    for (size_t at = text.find(plain); at != std::string::npos; at = text.find(plain))
      text.replace(at, 4, nice);
  }
  // A minus stands at the start or after a blank or bracket, and before a digit; other hyphens are left
  // alone.
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t at = text.find('-'); at != std::string::npos; at = text.find('-', at + 1)) {
    const bool starts = at == 0 || std::string_view(" (").find(text[at - 1]) != std::string_view::npos;
    if (starts && at + 1 < text.size() && is_digit(text[at + 1])) text.replace(at, 1, "\u2212");
  }
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i)
    out += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  return out;
}

json findings_block(const std::vector<std::string>& sentences) {
  json items = json::array();
  for (const std::string& sentence : sentences) items.push_back(typeset(sentence));
  return {{"kind", "findings"}, {"items", items}};
}

json table_block(const Table& table, const std::vector<size_t>& runs) {
  json head = json::array(), right = json::array(), rows = json::array();
  for (const TableColumn& column : table.columns()) {
    head.push_back(typeset(column.head));
    right.push_back(column.align == Align::kRight);
  }
  for (size_t i = 0; i < table.rows(); ++i) {
    json cells = json::array();
    for (const std::string& cell : table.row(i)) cells.push_back(cell == "-" ? "" : typeset(cell));
    rows.push_back({{"run", runs[i]}, {"cells", cells}});
  }
  return {{"kind", "table"}, {"head", head}, {"right", right}, {"rows", rows}};
}

}  // namespace fathom
