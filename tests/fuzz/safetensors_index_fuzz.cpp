#include <vector>

#include "fuzz/fuzz_file.h"
#include "fuzz/weights.h"
#include "io/safetensors.h"
#include "io/safetensors_index.h"

// The input is the index; beside it stand a.safetensors with tensor "t" and b.safetensors with "u".
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto index = fathom::fuzz::as_file(data, size, "model.safetensors.index.json");
  static const bool shards = [&] {
    const float values[2] = {1, 2};
    using fathom::DType;
    fathom::write_safetensors(index.parent_path() / "a.safetensors",
                              {{"t", {2}, values, DType::kF32, DType::kF32}});
    fathom::write_safetensors(index.parent_path() / "b.safetensors",
                              {{"u", {2}, values, DType::kF32, DType::kF32}});
    return true;
  }();
  try {
    if (shards) fathom::fuzz::read_all(fathom::SafetensorsIndex(index));
  } catch (const fathom::Error&) {
  }
  return 0;
}
