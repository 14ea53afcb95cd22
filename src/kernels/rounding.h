#pragma once

#include <cstddef>

namespace fathom {

constexpr size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
/// a rounded up to a multiple of b.
constexpr size_t round_up(size_t a, size_t b) { return ceil_div(a, b) * b; }

}  // namespace fathom
