#pragma once
// The text of modeling_fathom.py, embedded at build time; written beside every checkpoint that a stock Llama
// can't compute.

#include <string_view>

namespace fathom {
extern const std::string_view kModelingFathom;
}  // namespace fathom
