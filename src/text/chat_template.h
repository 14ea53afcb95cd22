#pragma once
// A model's chat template: the Jinja text of tokenizer_config.json, chat_template.jinja or a GGUF's
// tokenizer.chat_template, which turns a conversation into the text that the model was trained on.
//
// Rendering is `transformers`' apply_chat_template: its environment (trim_blocks, lstrip_blocks, loop
// controls, {% generation %}), its globals (raise_exception, strftime_now), its tojson. What the interpreter
// knows of Jinja: docs/finetuning.md; tests/parity/check_chat_templates.py holds it to python3-jinja2.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "text/tokenizer.h"

namespace fathom {

/// A conversation as it stands in a file: the order of keys is kept, for templates that print tools.
using ChatJson = nlohmann::ordered_json;

struct ChatRequest {
  ChatJson messages = ChatJson::array();  ///< [{"role", "content", ...}, ...]
  ChatJson tools = nullptr;               ///< an array, or null
  ChatJson variables = nullptr;           ///< an object of further variables (enable_thinking, ...), or null
  bool add_generation_prompt = false;
};

struct RenderedChat {
  std::string text;
  /// What {% generation %} enclosed: byte ranges [begin, end) of the text, in order.
  std::vector<std::pair<size_t, size_t>> generated;
};

/// A conversation as ids, with the mask of supervised training (sft.h).
struct TokenizedChat {
  std::vector<int32_t> ids;
  std::vector<uint8_t> scored;
};

/// Cheap to copy; const members may be called by several threads at once.
class ChatTemplate {
 public:
  /// `source` is the Jinja text, `origin` names it in messages ("tokenizer_config.json"). Errors: Error
  /// (origin, line) naming the construct that is wrong or not supported.
  ChatTemplate(const std::string& source, std::string bos_token, std::string eos_token,
               std::filesystem::path origin);
  /// <|im_start|>role, line feed, content, <|im_end|>: for models that bring no template.
  static ChatTemplate chatml(std::string bos_token = {}, std::string eos_token = {});

  /// Of a Hugging Face folder: chat_template.jinja, else chat_template.json, else "chat_template" of
  /// tokenizer_config.json (a text, or a list of named ones, of which "default" is meant). Nothing where the
  /// folder has none. Errors: Error.
  static std::optional<ChatTemplate> find(const std::filesystem::path& folder);

  bool is_fallback() const;  ///< made by chatml()
  const std::string& source() const;

  /// The text of a conversation. `now`, in seconds since 1970 (UTC), is what strftime_now reads; without it
  /// the time of the call. Errors: Error naming the template's line: what the template raises, or what it
  /// does that fails.
  RenderedChat render(const ChatRequest& request, std::optional<int64_t> now = {}) const;

  /// Ids of a conversation's text: the names of special tokens stand for the tokens, and where the tokenizer
  /// adds a BOS and the text does not begin with it, one is in front.
  std::vector<int32_t> encode(const ChatRequest& request, const Tokenizer& tokenizer,
                              std::optional<int64_t> now = {}) const;

  /// The same with the targets: of each assistant's turn what follows the prompt that the model would be
  /// given, up to its end-of-turn token; or what {% generation %} encloses, where the template has such
  /// marks. Errors: Error where no turn is an answer, or where the text up to a turn is no beginning of the
  /// whole text.
  TokenizedChat encode_for_training(const ChatRequest& request, const Tokenizer& tokenizer,
                                    bool last_turn_only = false, std::optional<int64_t> now = {}) const;

  /// The special token that ends an assistant's turn; the tokenizer's EOS (or -1) where the template writes
  /// none. Errors: as render.
  int32_t end_of_turn(const Tokenizer& tokenizer) const;

 private:
  struct State;
  explicit ChatTemplate(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace fathom
