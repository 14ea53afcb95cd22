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

#include "text/json_fields.h"
#include "text/tokenizer.h"

namespace fathom {

struct TokenizerConfig;

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
  /// `source` is the Jinja text, `origin` names it in messages ("tokenizer_config.json"); an empty token is
  /// one that the model does not have. Errors: Error (origin, line) naming the construct that is wrong or not
  /// supported.
  ChatTemplate(const std::string& source, std::string bos_token, std::string eos_token,
               std::filesystem::path origin);
  /// <|im_start|>role, line feed, content, <|im_end|>: for models that bring no template.
  static ChatTemplate chatml();

  /// "chat_template" of a tokenizer_config.json: a text, or several with names, of which "default" is meant,
  /// and "tool_use" for a request with tools. Nothing where there is none. Errors: Error.
  static std::optional<ChatTemplate> of_config(const Json& config, const std::filesystem::path& origin);
  /// Of a Hugging Face folder: chat_template.jinja, else tokenizer_config.json, else chat_template.json.
  /// Nothing where the folder has none. Errors: Error.
  static std::optional<ChatTemplate> find(const std::filesystem::path& folder);
  /// The text of the template that find() would give, unparsed: for files that only carry it on. Errors:
  /// Error where a file is damaged.
  static std::optional<std::string> find_source(const std::filesystem::path& folder);

  bool is_fallback() const;  ///< made by chatml()
  const std::string& source() const;

  /// The text of a conversation. `now`, in seconds since 1970 (UTC), is what strftime_now reads; without it
  /// the time of the call. Errors: Error naming the template's line: what the template raises, or what it
  /// does that fails.
  RenderedChat render(const ChatRequest& request, std::optional<int64_t> now = {}) const;

  /// Ids of a conversation's text: the names of special tokens stand for the tokens. A BOS is there where the
  /// template writes one, as in `transformers`; chatml() writes none, and one is put in front where the
  /// tokenizer adds it. Errors: as render.
  std::vector<int32_t> encode(const ChatRequest& request, const Tokenizer& tokenizer,
                              std::optional<int64_t> now = {}) const;

  /// The same with the targets: of each assistant's turn what follows the prompt that the model would be
  /// given, up to its end-of-turn token; or what {% generation %} encloses, where the template has such
  /// marks. A token that holds characters on both sides of a turn's start is a target, one on both sides of
  /// its end is not. Errors: Error where no turn is an answer, or where the text up to a turn is no beginning
  /// of the whole text; and as render.
  TokenizedChat encode_for_training(const ChatRequest& request, const Tokenizer& tokenizer,
                                    bool last_turn_only = false, std::optional<int64_t> now = {}) const;

  /// The special token that ends an assistant's turn; the tokenizer's EOS (or -1) where the template writes
  /// none.
  int32_t end_of_turn(const Tokenizer& tokenizer) const;

 private:
  struct State;
  struct Texts;
  static std::optional<Texts> texts_of_config(const Json& json, const std::filesystem::path& origin);
  static std::optional<Texts> texts_of_folder(const std::filesystem::path& folder);
  static std::optional<ChatTemplate> of_texts(const std::optional<Texts>& texts,
                                              const TokenizerConfig& tokens);
  explicit ChatTemplate(std::shared_ptr<const State> state);
  std::vector<std::pair<size_t, size_t>> answers(const ChatRequest& request, const RenderedChat& whole,
                                                 bool last_turn_only, int64_t now) const;
  [[noreturn]] void fail_no_beginning(size_t turns, const std::string& beginning, const std::string& whole,
                                      bool last_turn_only) const;
  std::vector<int32_t> encode_text(const std::string& text, const Tokenizer& tokenizer) const;

  std::shared_ptr<const State> state_;
};

}  // namespace fathom
