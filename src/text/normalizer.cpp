#include "text/normalizer.h"

#include <vector>

#include "text/charsmap.h"
#include "text/unicode.h"

namespace fathom {
namespace {

class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(NormalForm form) : form_(form) {}
  void apply(std::string& text, RegexScratch&) const override { text = to_normal_form(text, form_); }

 private:
  NormalForm form_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(std::string& text, RegexScratch&) const override { text = to_lowercase(text); }
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& text, RegexScratch&) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class ReplaceString final : public Normalizer {
 public:
  ReplaceString(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  void apply(std::string& text, RegexScratch&) const override {
    size_t at = text.find(from_);
    if (from_.empty() || at == std::string::npos) return;
    std::string out;
    out.reserve(text.size() + text.size() / 2);
    size_t copied = 0;
    for (; at != std::string::npos; at = text.find(from_, copied)) {
      out.append(text, copied, at - copied).append(to_);
      copied = at + from_.size();
    }
    text = std::move(out.append(text, copied));
  }

 private:
  std::string from_, to_;
};

class ReplaceRegex final : public Normalizer {
 public:
  ReplaceRegex(std::string_view pattern, std::string to) : regex_(pattern), to_(std::move(to)) {}
  void apply(std::string& text, RegexScratch& scratch) const override {
    std::vector<Span> spans;
    regex_.find_all(text, scratch, spans);
    std::string out;
    for (const Span& span : spans) {
      if (span.match)
        out += to_;
      else
        out.append(text, span.begin, span.end - span.begin);
    }
    text = std::move(out);
  }

 private:
  Regex regex_;
  std::string to_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& text, RegexScratch&) const override {
    const auto is_space = [&](size_t at) {
      return (char_kinds(first_code_point(std::string_view(text).substr(at)).value) & kWhitespace) != 0;
    };
    while (right_ && !text.empty() && is_space(last_character(text))) text.resize(last_character(text));
    size_t begin = 0;
    while (left_ && begin < text.size() && is_space(begin))
      begin += first_code_point(std::string_view(text).substr(begin)).length;
    text.erase(0, begin);
  }

 private:
  bool left_, right_;
};

/// Calls map(code point) for each character; kDrop removes it.
constexpr uint32_t kDrop = UINT32_MAX;
template <class Map>
void map_characters(std::string& text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = first_code_point(std::string_view(text).substr(at));
    const uint32_t mapped = map(c.value);
    if (mapped == c.value)
      out.append(text, at, c.length);
    else if (mapped != kDrop)
      append_utf8(out, mapped);
    at += c.length;
  }
  text = std::move(out);
}

/// `tokenizers` knows the marks of an old Unicode only, so that some dozens of rare ones stay there and go
/// here.
class StripAccents final : public Normalizer {
 public:
  void apply(std::string& text, RegexScratch&) const override {
    map_characters(text, [](uint32_t c) { return (char_kinds(c) & (kMark | kInert)) == kMark ? kDrop : c; });
  }
};

/// SentencePiece's rules "nmt" without its NFKC: control characters go, odd white space becomes a space.
class Nmt final : public Normalizer {
 public:
  void apply(std::string& text, RegexScratch&) const override {
    map_characters(text, [](uint32_t c) -> uint32_t {
      if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f)
        return kDrop;
      const bool space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
                         (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                         c == 0xfeff || c == 0xfffd;
      return space ? ' ' : c;
    });
  }
};

class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(std::string_view bytes) : map_(bytes) {}
  void apply(std::string& text, RegexScratch&) const override { text = map_.apply(text); }

 private:
  CharsMap map_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(std::string& text, RegexScratch& scratch) const override {
    for (const auto& step : steps_) step->apply(text, scratch);
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

std::unique_ptr<const Normalizer> make_sequence(const Json& json, int depth) {
  std::vector<std::unique_ptr<const Normalizer>> steps;
  for (const Json& step : array_field(json, "normalizers")) {
    if (auto made = make_normalizer(step, depth + 1)) steps.push_back(std::move(made));
  }
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<const Normalizer> make_replace(const Json& json) {
  const Pattern pattern = pattern_of(required(json, "pattern"));
  std::string content = string_field(json, "content");
  if (pattern.regex) return std::make_unique<ReplaceRegex>(pattern.text, std::move(content));
  return std::make_unique<ReplaceString>(pattern.text, std::move(content));
}

}  // namespace

Pattern pattern_of(const Json& json) {
  if (field(json, "String")) return {string_field(json, "String"), false};
  if (field(json, "Regex")) return {string_field(json, "Regex"), true};
  fail("a pattern is neither a String nor a Regex: " + brief(json));
}

std::unique_ptr<const Normalizer> make_normalizer(const Json& json, int depth) {
  if (json.is_null()) return nullptr;
  if (depth > kMaxNesting) fail("its normalizers are nested too deeply");
  const std::string type = string_field(json, "type");
  if (type == "Sequence") return make_sequence(json, depth);
  if (type == "NFC") return std::make_unique<UnicodeForm>(NormalForm::kNfc);
  if (type == "NFD") return std::make_unique<UnicodeForm>(NormalForm::kNfd);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(NormalForm::kNfkc);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(NormalForm::kNfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Prepend") return std::make_unique<Prepend>(string_field(json, "prepend"));
  if (type == "Replace") return make_replace(json);
  if (type == "Strip")
    return std::make_unique<Strip>(bool_field(json, "strip_left", true),
                                   bool_field(json, "strip_right", true));
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "Precompiled") {
    if (!field(json, "precompiled_charsmap")) return nullptr;  // no rules
    const std::string bytes = decode_base64(string_field(json, "precompiled_charsmap"));
    return bytes.empty() ? nullptr : std::make_unique<Precompiled>(bytes);
  }
  fail("its normalizer '" + type + "' is not supported");
}

}  // namespace fathom
