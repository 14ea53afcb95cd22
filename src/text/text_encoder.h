#pragma once
// What every kind of tokenizer gives the public class: an encoder, the text of each id, and what stands
// around a text.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/regex.h"
#include "text/word_cache.h"

namespace fathom {

/// One thread's memory while it encodes; kept from text to text.
struct EncodeWorkspace {
  WordCache words;
  RegexScratch regex;
};

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  /// Appends the ids of `text` (any bytes) to `out`: no BOS, no EOS. Errors: Error where a pattern gives up.
  virtual void encode(std::string_view text, SpecialTokens special, EncodeWorkspace& workspace,
                      std::vector<int32_t>& out) const = 0;
};

using TokenizerFiles = std::vector<std::pair<std::string, std::string>>;

struct TokenizerParts {
  std::unique_ptr<const TextEncoder> encoder;
  std::vector<std::string> texts;    ///< the bytes of each id
  int32_t bos_id = -1, eos_id = -1;  ///< or -1
  bool add_bos = false, add_eos = false;
  bool drops_first_space = false;  ///< encoding puts a space in front of a text, and decoding takes it away
  uint64_t fingerprint = 0;
  /// Names and contents of the files that make this tokenizer, for saving it.
  std::function<TokenizerFiles()> files = {};
};

}  // namespace fathom
