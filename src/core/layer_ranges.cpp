#include "core/layer_ranges.h"

namespace fathom {

std::string layer_ranges(const std::vector<size_t>& layers, const char* separator) {
  std::string text;
  for (size_t i = 0; i < layers.size();) {
    size_t end = i;
    while (end + 1 < layers.size() && layers[end + 1] == layers[end] + 1) ++end;
    text += (text.empty() ? "" : separator) + std::to_string(layers[i]);
    if (end > i) text += "-" + std::to_string(layers[end]);
    i = end + 1;
  }
  return text;
}

}  // namespace fathom
