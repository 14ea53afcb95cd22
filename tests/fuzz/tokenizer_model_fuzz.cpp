#include "core/error.h"
#include "fuzz/fuzz_file.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto path = fathom::fuzz::as_file(data, size, "tokenizer.model");
    const fathom::Tokenizer tokenizer = fathom::Tokenizer::load(path);
    tokenizer.decode(tokenizer.encode("The deep layers, \xc3\xa4h, 1234 of\n\tthem. \xff"));
  } catch (const fathom::Error&) {
  }
  return 0;
}
