#include "core/error.h"
#include "fuzz/fuzz_file.h"
#include "io/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto path = fathom::fuzz::as_file(data, size, "config.json");
  try {
    fathom::read_block_shape(path.parent_path());
  } catch (const fathom::Error&) {
  }
  try {
    fathom::read_config(path);
  } catch (const fathom::Error&) {
  }
  return 0;
}
