#include "model/layer_list.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "core/error.h"

namespace fathom {
namespace {

// A whole number that fills `text`, or 0.
size_t parse_layer(std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

}  // namespace

std::vector<size_t> parse_layers(const std::string& text, size_t num_layers, const std::string& flag) {
  const auto refuse = [&](const std::string& what) {
    usage_error(flag + " '" + text + "': " + what,
                "give layers of 1.." + std::to_string(num_layers) + " such as 21-24,27");
  };
  std::vector<size_t> layers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = std::string_view(text).substr(begin, end - begin);
    const size_t dash = part.find('-');
    const size_t first = parse_layer(part.substr(0, dash));
    const size_t last = dash == std::string_view::npos ? first : parse_layer(part.substr(dash + 1));
    if (first == 0 || last == 0) refuse("'" + std::string(part) + "' is no layer or range of layers");
    if (first > last) refuse("the range '" + std::string(part) + "' runs backwards");
    if (last > num_layers)
      refuse("layer " + std::to_string(last) + " is beyond the last, " + std::to_string(num_layers));
    for (size_t l = first; l <= last; ++l) layers.push_back(l);
    begin = end + 1;
  }
  std::sort(layers.begin(), layers.end());
  const auto twice = std::adjacent_find(layers.begin(), layers.end());
  if (twice != layers.end()) refuse("layer " + std::to_string(*twice) + " is named twice");
  return layers;
}

}  // namespace fathom
