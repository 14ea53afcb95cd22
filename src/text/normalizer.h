#pragma once
// The normalizer of a tokenizer.json: what happens to a text before it is cut.

#include <memory>
#include <string>

#include "text/json_fields.h"
#include "text/regex.h"

namespace fathom {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Changes `text`, which is valid UTF-8 before and after.
  virtual void apply(std::string& text, RegexScratch& scratch) const = 0;
};

/// The normalizer that a tokenizer.json describes; null for null. Errors: Error (without a path) naming a
/// type that is not supported or a field that is wrong.
std::unique_ptr<const Normalizer> make_normalizer(const Json& json, int depth = 0);

/// What a Replace's or Split's {"String": ...} or {"Regex": ...} holds. Errors: as above.
struct Pattern {
  std::string text;
  bool regex;
};
Pattern pattern_of(const Json& json);

}  // namespace fathom
