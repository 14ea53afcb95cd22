#pragma once
// The decoder of a tokenizer.json, applied to each token once: the bytes that an id stands for.

#include <memory>
#include <string>
#include <vector>

#include "text/json_fields.h"
#include "text/regex.h"

namespace fathom {

class TokenDecoder {
 public:
  /// `json` is "decoder", null allowed (tokens then stand for themselves). Errors: Error (without a path)
  /// naming a type that is not supported.
  explicit TokenDecoder(const Json& json);
  ~TokenDecoder();

  std::string text_of(std::string token) const;
  /// Whether a space at the very start of a decoded text is dropped: the one that encoding put there.
  bool drops_first_space() const { return drops_first_space_; }

 private:
  struct Step;
  void add(const Json& json, int depth);
  void add_strip(const Json& json);

  std::vector<Step> steps_;
  bool fused_ = false, drops_first_space_ = false;
};

}  // namespace fathom
