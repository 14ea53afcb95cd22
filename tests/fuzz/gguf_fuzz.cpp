#include "fuzz/fuzz_file.h"
#include "fuzz/weights.h"
#include "io/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const fathom::GgufFile file(fathom::fuzz::as_file(data, size, "x-00001-of-00001.gguf"));
    for (const auto& [key, value] : file.metadata().values()) {
      try {
        file.metadata().integer(key);
        file.metadata().reals(key);
      } catch (const fathom::Error&) {  // of another kind
      }
    }
    fathom::fuzz::read_all(file);
  } catch (const fathom::Error&) {
  }
  return 0;
}
