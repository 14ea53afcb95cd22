#include "io/gguf_cursor.h"

#include <optional>

namespace fathom {
namespace {

// ggml itself reads one level; the format allows more.
constexpr int kMaxArrayDepth = 4;

// A vocabulary of a quarter of a million tokens has that many strings; the longest known value is a chat
// template of some 20 kB.
constexpr uint64_t kMaxString = uint64_t{64} << 20;
constexpr uint64_t kMaxElements = uint64_t{1} << 26;

// Bytes that a value of the type takes at least.
uint64_t min_bytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
    case GgufType::kString:
      return 8;
    case GgufType::kArray:
      return 12;
  }
  return 1;
}

GgufType checked_type(const GgufCursor& in, uint32_t type) {
  if (type > static_cast<uint32_t>(GgufType::kFloat64))
    in.bad("has the unknown type " + std::to_string(type) + ", known are 0 to 12");
  return static_cast<GgufType>(type);
}

uint64_t read_unsigned(GgufCursor& in, GgufType type) {
  switch (type) {
    case GgufType::kUint8:
      return in.read<uint8_t>();
    case GgufType::kUint16:
      return in.read<uint16_t>();
    case GgufType::kUint32:
      return in.read<uint32_t>();
    default:
      return in.read<uint64_t>();
  }
}

int64_t read_signed(GgufCursor& in, GgufType type) {
  switch (type) {
    case GgufType::kInt8:
      return in.read<int8_t>();
    case GgufType::kInt16:
      return in.read<int16_t>();
    case GgufType::kInt32:
      return in.read<int32_t>();
    default:
      return in.read<int64_t>();
  }
}

double read_real(GgufCursor& in, GgufType type) {
  return type == GgufType::kFloat32 ? static_cast<double>(in.read<float>()) : in.read<double>();
}

uint64_t read_bool(GgufCursor& in) {
  const auto value = in.read<uint8_t>();
  if (value > 1) in.bad("is a bool of value " + std::to_string(value) + ", expected 0 or 1");
  return value;
}

template <class T, class Read>
std::vector<T> read_list(uint64_t count, Read read) {
  std::vector<T> list;
  list.reserve(count);
  for (uint64_t i = 0; i < count; ++i) list.push_back(read());
  return list;
}

// `budget`: the elements that this value may still hold, inner arrays included.
GgufArray read_array(GgufCursor& in, int depth, uint64_t& budget) {
  if (depth > kMaxArrayDepth) in.bad("nests arrays deeper than " + std::to_string(kMaxArrayDepth));
  GgufArray array;
  array.element = checked_type(in, in.read<uint32_t>());
  const auto count = in.read<uint64_t>();
  in.check_count(count, min_bytes(array.element), "elements");
  if (count > budget) in.bad("holds more than " + std::to_string(kMaxElements) + " elements");
  budget -= count;
  const GgufType type = array.element;
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kUint16:
    case GgufType::kUint32:
    case GgufType::kUint64:
      array.values = read_list<uint64_t>(count, [&] { return read_unsigned(in, type); });
      break;
    case GgufType::kInt8:
    case GgufType::kInt16:
    case GgufType::kInt32:
    case GgufType::kInt64:
      array.values = read_list<int64_t>(count, [&] { return read_signed(in, type); });
      break;
    case GgufType::kFloat32:
    case GgufType::kFloat64:
      array.values = read_list<double>(count, [&] { return read_real(in, type); });
      break;
    case GgufType::kBool:
      array.values = read_list<uint64_t>(count, [&] { return read_bool(in); });
      break;
    case GgufType::kString:
      array.values = read_list<std::string>(count, [&] { return in.read_string(kMaxString); });
      break;
    case GgufType::kArray:
      array.values = read_list<GgufArray>(count, [&] { return read_array(in, depth + 1, budget); });
      break;
  }
  return array;
}

}  // namespace

const std::byte* GgufCursor::take(size_t n) {
  if (n > left()) {
    bad("needs " + std::to_string(n) + " bytes, the file has " + std::to_string(left()) +
        " left; incomplete download?");
  }
  const std::byte* data = file_.bytes().data() + position_;
  position_ += n;
  return data;
}

std::string GgufCursor::read_string(uint64_t limit) {
  const auto length = read<uint64_t>();
  if (length > limit) {
    bad("has a string of " + std::to_string(length) + " bytes, more than " + std::to_string(limit));
  }
  const std::byte* data = take(length);
  return {reinterpret_cast<const char*>(data), length};
}

void GgufCursor::check_count(uint64_t count, uint64_t min_bytes, const char* what) const {
  if (count > left() / min_bytes) {
    bad("is said to have " + std::to_string(count) + " " + what + ", the file has " + std::to_string(left()) +
        " bytes left; incomplete download?");
  }
}

void GgufCursor::bad(const std::string& what) const {
  fail_file(file_.path(), subject_ + " " + what, {}, position_);
}

GgufValue read_gguf_value(GgufCursor& in, uint32_t type_number) {
  GgufValue out;
  out.type = checked_type(in, type_number);
  uint64_t budget = kMaxElements;
  switch (out.type) {
    case GgufType::kUint8:
    case GgufType::kUint16:
    case GgufType::kUint32:
    case GgufType::kUint64:
      out.value = read_unsigned(in, out.type);
      break;
    case GgufType::kInt8:
    case GgufType::kInt16:
    case GgufType::kInt32:
    case GgufType::kInt64:
      out.value = read_signed(in, out.type);
      break;
    case GgufType::kFloat32:
    case GgufType::kFloat64:
      out.value = read_real(in, out.type);
      break;
    case GgufType::kBool:
      out.value = read_bool(in) != 0;
      break;
    case GgufType::kString:
      out.value = in.read_string(kMaxString);
      break;
    case GgufType::kArray:
      out.value = read_array(in, 1, budget);
      break;
  }
  return out;
}

}  // namespace fathom
