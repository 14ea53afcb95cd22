#include "io/npy.h"

namespace fathom {

std::string npy_header_f32(const std::vector<size_t>& shape) {
  std::string dims;
  for (const size_t d : shape) dims += (dims.empty() ? "" : " ") + std::to_string(d) + ",";
  std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dims + "), }";
  constexpr size_t kFront = 10, kAlignment = 64;  // magic, version, length; the values begin at a multiple
  dict.append((kAlignment - (kFront + dict.size() + 1) % kAlignment) % kAlignment, ' ');
  dict += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header.push_back(static_cast<char>(dict.size() & 0xff));
  header.push_back(static_cast<char>(dict.size() >> 8));
  return header + dict;
}

}  // namespace fathom
