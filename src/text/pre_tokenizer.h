#pragma once
// The pre-tokenizer of a tokenizer.json: cuts a normalized text into the pieces that the model sees.

#include <memory>
#include <string>
#include <vector>

#include "text/json_fields.h"
#include "text/regex.h"

namespace fathom {

/// A text and its pieces, in order, none empty; what no piece holds is dropped.
struct Pieces {
  struct Range {
    size_t begin, end;
  };
  std::string text;  ///< valid UTF-8
  std::vector<Range> ranges;
  bool at_start = true;  ///< the text is the first part of what is encoded, not behind an added token
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces, RegexScratch& scratch) const = 0;
};

/// The pre-tokenizer that a tokenizer.json describes; null for null. `byte_level` is set where one of its
/// steps is ByteLevel: the vocabulary then writes bytes as characters (byte_alphabet.h); the pieces stay
/// plain text. Errors: Error (without a path) naming a type that is not supported or a field that is wrong.
std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json, bool& byte_level, int depth = 0);

/// GPT-2's pattern, which ByteLevel cuts by (openai/gpt-2, src/encoder.py).
inline constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace fathom
