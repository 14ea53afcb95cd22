#pragma once
// Layers as people name them on the command line.

#include <cstddef>
#include <string>
#include <vector>

namespace fathom {

/// "21-24,27" -> {21, 22, 23, 24, 27}, rising. `flag` is named in messages. Errors: Error (usage) on anything
/// else, and on a layer outside 1..L or named twice.
std::vector<size_t> parse_layers(const std::string& text, size_t num_layers,
                                 const std::string& flag = "--drop");

}  // namespace fathom
