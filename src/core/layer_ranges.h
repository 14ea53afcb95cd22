#pragma once
// Layers as people read them.

#include <string>
#include <vector>

namespace fathom {

/// "3", "22-27", "4, 9-11" of 1-based layers in rising order; "" of none.
std::string layer_ranges(const std::vector<size_t>& layers, const char* separator = ", ");

}  // namespace fathom
