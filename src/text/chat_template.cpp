#include "text/chat_template.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "core/file.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"
#include "text/jinja_text.h"
#include "text/text_error.h"
#include "text/tokenizer_config.h"
#include "text/utf8.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxSourceBytes = size_t{1} << 20;  // the longest in use have some 20 KB

constexpr const char* kChatMl =
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

jinja::Value value_of(jinja::Runtime& runtime, const ChatJson& json) {
  const jinja::Runtime::Nested nested(runtime);
  runtime.step();
  switch (json.type()) {
    case ChatJson::value_t::object: {
      std::vector<std::pair<jinja::Value, jinja::Value>> entries;
      for (const auto& [key, value] : json.items())
        entries.emplace_back(runtime.text(key), value_of(runtime, value));
      return runtime.dict(std::move(entries));
    }
    case ChatJson::value_t::array: {
      jinja::Values items;
      for (const ChatJson& item : json) items.push_back(value_of(runtime, item));
      return runtime.list(std::move(items));
    }
    case ChatJson::value_t::string:
      return runtime.text(json.get<std::string>());
    case ChatJson::value_t::boolean:
      return jinja::Value(json.get<bool>());
    case ChatJson::value_t::number_integer:
      return jinja::Value(json.get<int64_t>());
    case ChatJson::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) runtime.fail("the number " + json.dump() + " is too large");
      return jinja::Value(json.get<int64_t>());
    case ChatJson::value_t::number_float:
      return jinja::Value(json.get<double>());
    default:
      return jinja::Value(jinja::None{});
  }
}

/// Calls fn; what it throws without a path gets `origin`'s.
template <class Fn>
auto with_origin(const fs::path& origin, const Fn& fn) {
  try {
    return fn();
  } catch (const Error& e) {
    if (!e.fields().path.empty()) throw;
    fail_in(origin, e.fields().what, e.fields().hint, e.fields().line);
  }
}

struct ParsedTemplate {
  std::string source;
  fs::path origin;
  jinja::Block statements;

  ParsedTemplate(const std::string& text, const fs::path& from) : source(text), origin(from) {
    if (text.size() > kMaxSourceBytes)
      fail_in(from, fmt::format("a chat template of {} bytes", text.size()), "is this a template?");
    if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos)
      fail_in(from, "the chat template is not valid UTF-8", "download it again", {}, bad);
    with_origin(from, [&] { statements = jinja::parse(text); });
  }
};

int64_t seconds_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

std::string around(const std::string& text, size_t at) {
  const size_t begin = utf8_floor(text, at > 20 ? at - 20 : 0);
  return text.substr(begin, utf8_floor(std::string_view(text).substr(begin), 40));
}

/// How many ids, or bytes, both begin with.
template <class List>
size_t common(const List& a, const List& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

/// Whether the text of a message, without white space around it, stands in `rendered`.
bool contains_content(std::string_view rendered, const ChatJson& message) {
  const auto content = message.find("content");
  if (content == message.end() || !content->is_string()) return false;
  const auto text = content->get<std::string>();
  const std::string_view wanted = jinja::strip(text, std::nullopt, true, true);
  return !wanted.empty() && rendered.find(wanted) != std::string_view::npos;
}

bool is_white(std::string_view bytes) {
  return !bytes.empty() && bytes.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

bool is_answer(const ChatJson& message) {
  const auto role = message.is_object() ? message.find("role") : message.end();
  return message.is_object() && role != message.end() && *role == "assistant";
}

}  // namespace

/// The templates as text: where they stand, not what is in them.
struct ChatTemplate::Texts {
  std::string plain;
  std::optional<std::string> with_tools;
  fs::path origin;
};

struct ChatTemplate::State {
  ParsedTemplate plain;
  std::optional<ParsedTemplate> with_tools;
  std::string bos_token, eos_token;
  bool is_fallback = false;
};

std::optional<ChatTemplate::Texts> ChatTemplate::texts_of_config(const Json& json, const fs::path& origin) {
  const Json* const value = field(json, "chat_template");
  if (!value) return std::nullopt;
  const auto named = [&](const char* name) -> const Json* {
    if (value->is_object()) return field(*value, name);
    for (const Json& entry : *value) {
      if (string_field(entry, "name") == name) return &required(entry, "template");
    }
    return nullptr;
  };
  const bool several = value->is_array() || value->is_object();
  const Json* const plain = several ? with_origin(origin, [&] { return named("default"); }) : value;
  const Json* const tools = several ? with_origin(origin, [&] { return named("tool_use"); }) : nullptr;
  if (!plain)
    fail_in(origin, "\"chat_template\" lists no template named \"default\"",
            "give one as chat_template.jinja");
  if (!plain->is_string() || (tools && !tools->is_string()))
    fail_in(origin, "\"chat_template\" must be a text, or a list of {\"name\", \"template\"}",
            "download it again");
  Texts texts{plain->get<std::string>(), std::nullopt, origin};
  if (tools) texts.with_tools = tools->get<std::string>();
  return texts;
}

std::optional<ChatTemplate::Texts> ChatTemplate::texts_of_folder(const fs::path& folder) {
  if (const fs::path jinja = folder / "chat_template.jinja"; fs::exists(jinja))
    return Texts{read_text_file(jinja), std::nullopt, jinja};
  for (const char* name : {"tokenizer_config.json", "chat_template.json"}) {
    const fs::path path = folder / name;
    if (!fs::exists(path)) continue;
    Json json;
    try {
      json = Json::parse(read_text_file(path));
    } catch (const Json::exception&) {
      fail_in(path, "is not valid JSON", "download it again");
    }
    if (!json.is_object()) fail_in(path, "holds no JSON object", "download it again");
    if (auto found = texts_of_config(json, path)) return found;
  }
  return std::nullopt;
}

ChatTemplate::ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}

ChatTemplate::ChatTemplate(const std::string& source, std::string bos_token, std::string eos_token,
                           fs::path origin)
    : state_(std::make_shared<const State>(State{ParsedTemplate(source, origin), std::nullopt,
                                                 std::move(bos_token), std::move(eos_token), false})) {}

ChatTemplate ChatTemplate::chatml() {
  return ChatTemplate(std::make_shared<const State>(
      State{ParsedTemplate(kChatMl, "the ChatML template"), std::nullopt, {}, {}, true}));
}

std::optional<ChatTemplate> ChatTemplate::of_texts(const std::optional<Texts>& texts,
                                                   const TokenizerConfig& tokens) {
  if (!texts) return std::nullopt;
  State state{ParsedTemplate(texts->plain, texts->origin), std::nullopt, tokens.bos_token, tokens.eos_token,
              false};
  if (texts->with_tools) state.with_tools.emplace(*texts->with_tools, texts->origin);
  return ChatTemplate(std::make_shared<const State>(std::move(state)));
}

std::optional<ChatTemplate> ChatTemplate::of_config(const Json& json, const fs::path& origin) {
  return of_texts(texts_of_config(json, origin), tokenizer_config_of(json));
}

std::optional<ChatTemplate> ChatTemplate::find(const fs::path& folder) {
  return of_texts(texts_of_folder(folder), read_tokenizer_config(folder));
}

std::optional<std::string> ChatTemplate::find_source(const fs::path& folder) {
  const std::optional<Texts> texts = texts_of_folder(folder);
  return texts ? std::optional(texts->plain) : std::nullopt;
}

bool ChatTemplate::is_fallback() const { return state_->is_fallback; }
const std::string& ChatTemplate::source() const { return state_->plain.source; }

RenderedChat ChatTemplate::render(const ChatRequest& request, std::optional<int64_t> now) const {
  const ParsedTemplate& parsed =
      !request.tools.is_null() && state_->with_tools ? *state_->with_tools : state_->plain;
  const int64_t time = now.value_or(seconds_now());
  return with_origin(parsed.origin, [&] {
    jinja::Runtime runtime({}, time);
    std::vector<std::pair<std::string, jinja::Value>> variables = {
        {"messages", value_of(runtime, request.messages)},
        {"tools", value_of(runtime, request.tools)},
        {"documents", jinja::Value(jinja::None{})},
        {"add_generation_prompt", jinja::Value(request.add_generation_prompt)}};
    if (!state_->bos_token.empty()) variables.emplace_back("bos_token", runtime.text(state_->bos_token));
    if (!state_->eos_token.empty()) variables.emplace_back("eos_token", runtime.text(state_->eos_token));
    if (request.variables.is_object()) {
      for (const auto& [name, value] : request.variables.items())
        variables.emplace_back(name, value_of(runtime, value));
    }
    jinja::Output output = jinja::run(runtime, parsed.statements, std::move(variables));
    return RenderedChat{std::move(output.text), std::move(output.generated)};
  });
}

std::vector<int32_t> ChatTemplate::encode_text(const std::string& text, const Tokenizer& tokenizer) const {
  std::vector<int32_t> ids = tokenizer.encode(text, SpecialTokens::kParse);
  if (state_->is_fallback && tokenizer.add_bos() && (ids.empty() || ids[0] != tokenizer.bos_id()))
    ids.insert(ids.begin(), tokenizer.bos_id());
  return ids;
}

std::vector<int32_t> ChatTemplate::encode(const ChatRequest& request, const Tokenizer& tokenizer,
                                          std::optional<int64_t> now) const {
  return encode_text(render(request, now).text, tokenizer);
}

void ChatTemplate::fail_no_beginning(size_t turns, const std::string& beginning, const std::string& whole,
                                     bool last_turn_only) const {
  const size_t at = common(beginning, whole);
  fail_in(state_->plain.origin,
          fmt::format("the first {} turns alone are written as '{}', and as '{}' where the others follow",
                      turns, around(beginning, at), around(whole, at)),
          last_turn_only ? "this template does not tell which tokens are the answer"
                         : "give each answer as a conversation of its own, or train on the last turns only");
}

/// The answers as byte ranges of the whole text.
std::vector<std::pair<size_t, size_t>> ChatTemplate::answers(const ChatRequest& request,
                                                             const RenderedChat& whole, bool last_turn_only,
                                                             int64_t now) const {
  if (!whole.generated.empty()) {
    if (last_turn_only) return {whole.generated.back()};
    return whole.generated;
  }
  const ChatJson& messages = request.messages;
  const auto beginning_of = [&](size_t turns, bool add_generation_prompt) {
    ChatRequest beginning = request;
    beginning.messages = ChatJson(ChatJson::array());
    for (size_t i = 0; i < turns; ++i) beginning.messages.push_back(messages[i]);
    beginning.add_generation_prompt = add_generation_prompt;
    return render(beginning, now).text;
  };
  std::vector<std::pair<size_t, size_t>> spans;
  for (size_t i = messages.size(); i-- > 0;) {
    if (!is_answer(messages[i])) continue;
    const std::string prompt = beginning_of(i, true);
    if (!whole.text.starts_with(prompt)) fail_no_beginning(i, prompt, whole.text, last_turn_only);
    size_t end = whole.text.size();
    if (i + 1 < messages.size()) {
      const std::string answered = beginning_of(i + 1, false);
      end = common(answered, whole.text);
      // What a template writes behind the last turn alone (Phi-3's EOS) is no fault, if the answer is whole.
      const std::string_view answer =
          std::string_view(whole.text).substr(prompt.size(), end - std::min(end, prompt.size()));
      if (end < answered.size() && (end < prompt.size() || !contains_content(answer, messages[i])))
        fail_no_beginning(i + 1, answered, whole.text, last_turn_only);
    }
    spans.emplace_back(prompt.size(), end);
    if (last_turn_only) break;
  }
  std::reverse(spans.begin(), spans.end());
  return spans;
}

TokenizedChat ChatTemplate::encode_for_training(const ChatRequest& request, const Tokenizer& tokenizer,
                                                bool last_turn_only, std::optional<int64_t> now) const {
  const int64_t time = now.value_or(seconds_now());
  ChatRequest finished = request;
  finished.add_generation_prompt = false;
  const RenderedChat whole = render(finished, time);
  TokenizedChat chat;
  chat.ids = encode_text(whole.text, tokenizer);
  chat.scored.assign(chat.ids.size(), 0);
  const auto tokens_in = [&](size_t bytes) {
    return common(encode_text(whole.text.substr(0, bytes), tokenizer), chat.ids);
  };
  for (const auto& [begin, end] : answers(finished, whole, last_turn_only, time)) {
    const size_t from = std::max<size_t>(tokens_in(begin), 1);  // the first token has nothing before it
    size_t to = tokens_in(end);
    // A line feed behind the end-of-turn token belongs to the format, and is never generated.
    size_t last = to;
    while (last > from && is_white(tokenizer.bytes_of(chat.ids[last - 1]))) --last;
    if (last > from && tokenizer.bytes_of(chat.ids[last - 1]).empty()) to = last;
    for (size_t i = from; i < to; ++i) chat.scored[i] = 1;
  }
  if (std::find(chat.scored.begin(), chat.scored.end(), 1) == chat.scored.end())
    fail("the conversation has no answer", "it needs a turn of the role \"assistant\" behind another one");
  return chat;
}

int32_t ChatTemplate::end_of_turn(const Tokenizer& tokenizer) const {
  ChatRequest probe;
  probe.messages =
      ChatJson::parse(R"([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hi."}])");
  try {
    const TokenizedChat chat = encode_for_training(probe, tokenizer);
    const auto last = std::find(chat.scored.rbegin(), chat.scored.rend(), 1) - chat.scored.rbegin();
    const int32_t id = chat.ids[chat.ids.size() - 1 - static_cast<size_t>(last)];
    if (tokenizer.bytes_of(id).empty()) return id;
  } catch (const Error&) {
    // A template that cannot take these two turns still has the tokenizer's EOS.
  }
  return tokenizer.eos_id();
}

}  // namespace fathom
