#include "fuzz/fuzz_file.h"
#include "fuzz/weights.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    fathom::fuzz::read_all(fathom::SafetensorsFile(fathom::fuzz::as_file(data, size, "x.safetensors")));
  } catch (const fathom::Error&) {
  }
  return 0;
}
