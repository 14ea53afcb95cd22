#include "text/token_texts.h"

#include <charconv>
#include <functional>
#include <optional>

#include "text/byte_alphabet.h"
#include "text/normalizer.h"

namespace fathom {
namespace {

/// The byte of "<0x0A>".
std::optional<char> byte_of(std::string_view token) {
  unsigned byte = 0;
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  const char* const end = token.data() + 5;
  if (std::from_chars(token.data() + 3, end, byte, 16).ptr != end) return std::nullopt;
  return static_cast<char>(byte);
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; !from.empty() && (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

/// Changes a token; true ends the chain, for what is a byte and no text any more.
struct TokenDecoder::Step {
  std::function<bool(std::string&)> apply;
};

TokenDecoder::TokenDecoder(const Json& json) {
  if (!json.is_null()) add(json, 0);
}
TokenDecoder::~TokenDecoder() = default;

std::string TokenDecoder::text_of(std::string token) const {
  for (const Step& step : steps_) {
    if (step.apply(token)) break;
  }
  return token;
}

void TokenDecoder::add(const Json& json, int depth) {
  if (depth > kMaxNesting) fail("its decoders are nested too deeply");
  const std::string type = string_field(json, "type");
  if (type == "Sequence") {
    for (const Json& step : array_field(json, "decoders")) add(step, depth + 1);
  } else if (type == "ByteLevel") {
    steps_.push_back({[](std::string& token) {
      auto bytes = bytes_from_alphabet(token);
      if (bytes) token = std::move(*bytes);
      return true;
    }});
  } else if (type == "ByteFallback") {
    steps_.push_back({[](std::string& token) {
      const auto byte = byte_of(token);
      if (byte) token.assign(1, *byte);
      return byte.has_value();
    }});
  } else if (type == "Metaspace") {
    drops_first_space_ |= string_field(json, "prepend_scheme", "always") != "never" &&
                          bool_field(json, "add_prefix_space", true);
    steps_.push_back({[from = string_field(json, "replacement")](std::string& token) {
      token = replace_all(std::move(token), from, " ");
      return false;
    }});
  } else if (type == "Replace") {
    // The same rule as a normalizer's, on a token.
    const std::shared_ptr<const Normalizer> rule = make_normalizer(json);
    const auto scratch = std::make_shared<RegexScratch>();
    steps_.push_back({[rule, scratch](std::string& token) {
      rule->apply(token, *scratch);
      return false;
    }});
  } else if (type == "Strip") {
    add_strip(json);
  } else if (type == "Fuse") {
    fused_ = true;
  } else {
    fail("its decoder '" + type + "' is not supported");
  }
}

void TokenDecoder::add_strip(const Json& json) {
  const std::string content = string_field(json, "content");
  const int32_t start = count_field(json, "start", 0), stop = count_field(json, "stop", 0);
  if (fused_) {
    if (stop == 0 && start == 0) return;
    if (content != " " || start != 1 || stop != 0)
      fail("its decoder 'Strip' takes more than a space from the start of the text, which is not supported");
    drops_first_space_ = true;
    return;
  }
  steps_.push_back({[content, start, stop](std::string& token) {
    for (int32_t i = 0; i < start && !content.empty() && token.starts_with(content); ++i)
      token.erase(0, content.size());
    for (int32_t i = 0; i < stop && !content.empty() && token.ends_with(content); ++i)
      token.resize(token.size() - content.size());
    return false;
  }});
}

}  // namespace fathom
