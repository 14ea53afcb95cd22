#pragma once
// NumPy's .npy, version 1.0: "\x93NUMPY", 1, 0, the header's length in two bytes (little-endian), then the
// header, a Python dict padded with spaces to a line break at a multiple of 64 bytes, then the values in
// row-major order. Source: numpy.org, "A binary format for a single array" (NEP 1, numpy/lib/format.py).

#include <cstddef>
#include <string>
#include <vector>

namespace fathom {

/// What stands in front of fp32 values of that shape.
std::string npy_header_f32(const std::vector<size_t>& shape);

}  // namespace fathom
