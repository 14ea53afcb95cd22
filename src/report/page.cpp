#include "report/page.h"

#include <stdexcept>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "report/assets.h"

namespace fathom {
namespace {

// Marks of page.html and what stands in their place.
constexpr std::pair<std::string_view, std::string_view (*)()> kAssets[] = {
    {"PAGE_CSS", assets::page_css}, {"BLOCKS_CSS", assets::blocks_css}, {"MEDIA_CSS", assets::media_css},
    {"CHART_JS", assets::chart_js}, {"HELPERS_JS", assets::helpers_js}, {"CHARTS_JS", assets::charts_js},
    {"HEAT_JS", assets::heat_js},   {"PAGE_JS", assets::page_js},
};

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else
      out.push_back(c);
  }
  return out;
}

}  // namespace

std::string json_for_html(const nlohmann::json& value) {
  const std::string json =
      value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  std::string out;
  out.reserve(json.size());
  for (const char c : json) {
    // Outside of texts JSON has none of the three, so that the escapes always stand inside one.
    if (c == '<')
      out += "\\u003c";
    else if (c == '>')
      out += "\\u003e";
    else if (c == '&')
      out += "\\u0026";
    else
      out.push_back(c);
  }
  return out;
}

std::string render_page(const nlohmann::json& data) {
  const auto fill = [&](std::string_view name) -> std::string {
    if (name == "TITLE") return html_text(data.at("title").get<std::string>()) + " - Fathom";
    if (name == "DATA") return json_for_html(data);
    for (const auto& [mark, asset] : kAssets) {
      if (name == mark) return std::string(asset());
    }
    throw std::logic_error("page.html: unknown mark");
  };
  // Marks are looked for in the template alone, never in what was filled in.
  std::string out;
  std::string_view rest = assets::page_html();
  for (size_t open = rest.find('@'); open != std::string_view::npos; open = rest.find('@')) {
    const size_t close = rest.find('@', open + 1);
    out += rest.substr(0, open);
    out += fill(rest.substr(open + 1, close - open - 1));
    rest.remove_prefix(close + 1);
  }
  out += rest;
  return out;
}

}  // namespace fathom
