#include "core/error.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"
#include "text/utf8.h"

// A template over a conversation: it may fail, and nothing else. The limits are small, so that a loop costs
// the fuzzer no time.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom::jinja;
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  if (fathom::find_invalid_utf8(source) != std::string_view::npos) return 0;  // refused before it is parsed
  try {
    const Block statements = parse(source);
    Runtime runtime({.steps = 20'000, .bytes = 1 << 20, .nesting = 1000}, 0);
    const auto turn = [&](const char* role, const char* content) {
      return runtime.dict(
          {{runtime.text("role"), runtime.text(role)}, {runtime.text("content"), runtime.text(content)}});
    };
    run(runtime, statements,
        {{"messages", runtime.list({turn("system", "Be \xc3\xa4 terse."), turn("user", " a\nb "),
                                    turn("assistant", "")})},
         {"tools", Value(None{})},
         {"bos_token", runtime.text("<s>")},
         {"add_generation_prompt", Value(true)}});
  } catch (const fathom::Error&) {
  }
  return 0;
}
