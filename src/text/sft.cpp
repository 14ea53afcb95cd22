#include "text/sft.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/threads.h"
#include "text/chat_template.h"
#include "text/json_fields.h"
#include "text/line_reader.h"
#include "text/loader.h"
#include "text/task.h"
#include "text/text_error.h"
#include "text/white_space.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kForms =
    "a line holds {\"prompt\", \"response\"}, {\"messages\": [{\"role\", \"content\"}, ...]} or {\"query\", "
    "\"choices\", \"gold\"}";
constexpr size_t kLinesAtATime = 1024;  // read, then tokenized on all threads

enum class Form { kPrompt, kConversation, kQuestion };

/// What one line gave.
struct ReadLine {
  Form form = Form::kPrompt;
  SftExample example;
  std::optional<Error> error;
};

struct Line {
  std::string text;
  const fs::path* path = nullptr;
  uint64_t number = 0;
};

/// The name that a file of an evaluation task begins with: "arc_easy" of arc_easy.train.jsonl.gz.
std::string task_of_file(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.substr(0, name.find('.'));
}

/// A text as it stands in a conversation or a prompt; "" where it is null or missing.
std::string text_of(const ChatJson& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return {};
  if (!at->is_string()) fail("\"" + std::string(key) + "\" must be a text");
  return at->get<std::string>();
}

/// Whether a message says anything: content (a text, or a list of parts), or calls of tools.
bool says_nothing(const ChatJson& message) {
  const auto calls = message.find("tool_calls");
  if (calls != message.end() && calls->is_array() && !calls->empty()) return false;
  const auto content = message.find("content");
  return content == message.end() || content->is_null() || content->empty() ||
         (content->is_string() && content->get<std::string>().empty());
}

class LineParser {
 public:
  LineParser(const Tokenizer& tokenizer, const ChatTemplate* chat, const SftOptions& options)
      : tokenizer_(tokenizer), chat_(chat), options_(options) {}

  ReadLine parse(const Line& line) const {
    ReadLine read;
    try {
      ChatJson json;
      try {
        json = ChatJson::parse(line.text);
      } catch (const ChatJson::exception& e) {
        fail("not valid JSON: " + json_reason(e.what()), kForms);
      }
      if (json.is_object() && json.contains("messages")) {
        read.form = Form::kConversation;
        read.example = conversation(request_of(json));
      } else if (json.is_object() && json.contains("query")) {
        read.form = Form::kQuestion;
        read.example = question(line);
      } else if (json.is_object() && json.contains("prompt")) {
        read.example = prompt(json);
      } else {
        fail("is of no known form", kForms);
      }
    } catch (const Error& e) {
      read.error = e;
    }
    return read;
  }

 private:
  SftExample prompt(const ChatJson& json) const {
    const char* const key = json.contains("response") ? "response" : "completion";
    if (!json.contains(key)) fail("has a \"prompt\" without a \"response\"", kForms);
    const std::string asked = text_of(json, "prompt"), response = text_of(json, key);
    if (response.empty()) fail("an empty response", "leave the line out, or say what is wanted");
    if (!options_.chat_prompts) return joined(asked, response);
    ChatRequest request;
    request.messages.push_back({{"role", "user"}, {"content", asked}});
    request.messages.push_back({{"role", "assistant"}, {"content", response}});
    return conversation(std::move(request));
  }

  /// How a line's question is rendered: as told, or as the file's name says.
  const Task& task_of(const Line& line) const {
    if (!options_.task.empty()) return find_task(options_.task);
    try {
      return find_task(task_of_file(*line.path));
    } catch (const Error& e) {
      fail_in(*line.path, "the file's name does not say how its questions are rendered: " + e.fields().what,
              "give --task; " + e.fields().hint, line.number);
    }
  }

  SftExample question(const Line& line) const {
    const Task& task = task_of(line);
    const RenderedItem item = render_item(task, parse_task_item(line.text, line.number - 1));
    // As in lm-evaluation-harness, white space at the end of the context belongs to the continuation.
    const std::string context = item.description + item.answered().context;
    const std::string_view kept = strip_end(context);
    return joined(std::string(kept), context.substr(kept.size()) + item.answered().continuation);
  }

  /// Two texts, tokenized together, and an EOS.
  SftExample joined(const std::string& prompt, const std::string& response) const {
    SftExample made;
    if (tokenizer_.add_bos() || prompt.empty())
      made.ids.push_back(tokenizer_.bos_id() >= 0 ? tokenizer_.bos_id() : tokenizer_.required_eos_id());
    const size_t before = made.ids.size();
    const std::vector<int32_t> all = tokenizer_.encode(prompt + response), alone = tokenizer_.encode(prompt);
    const auto common = static_cast<size_t>(
        std::mismatch(all.begin(), all.end(), alone.begin(), alone.end()).first - all.begin());
    made.ids.insert(made.ids.end(), all.begin(), all.end());
    if (tokenizer_.eos_id() >= 0) made.ids.push_back(tokenizer_.eos_id());
    made.scored.assign(made.ids.size(), 1);
    std::fill_n(made.scored.begin(), std::max<size_t>(before + common, 1), 0);
    return made;
  }

  static ChatRequest request_of(const ChatJson& json) {
    ChatRequest request;
    request.messages = json.at("messages");
    if (!request.messages.is_array() || request.messages.empty())
      fail("\"messages\" must be a list of turns", kForms);
    for (size_t i = 0; i < request.messages.size(); ++i) {
      const ChatJson& message = request.messages[i];
      const std::string turn = "turn " + std::to_string(i + 1);
      if (!message.is_object() || !message.contains("role") || !message.at("role").is_string())
        fail(turn + " has no \"role\"", kForms);
      if (message.at("role") == "assistant" && says_nothing(message))
        fail(turn + ": an empty response", "leave the line out, or say what is wanted");
    }
    if (json.contains("tools")) request.tools = json.at("tools");
    if (json.contains("chat_template_kwargs")) request.variables = json.at("chat_template_kwargs");
    return request;
  }

  SftExample conversation(ChatRequest request) const {
    if (!chat_)
      fail("a conversation, and the model has no chat template", "give \"prompt\" and \"response\" instead");
    if (!options_.system_prompt.empty() && request.messages[0].at("role") != "system") {
      request.messages.insert(request.messages.begin(),
                              ChatJson{{"role", "system"}, {"content", options_.system_prompt}});
    }
    TokenizedChat chat =
        chat_->encode_for_training(request, tokenizer_, options_.last_turn_only, options_.now);
    return {std::move(chat.ids), std::move(chat.scored)};
  }

  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_;
  const SftOptions& options_;
};

/// Takes off what stands behind the last target, and so much of the beginning that the example fits. False
/// where the last response does not fit as a whole.
bool fit(SftExample& example, size_t seq, SftReport& report) {
  const auto last = std::find(example.scored.rbegin(), example.scored.rend(), 1);
  const auto end = static_cast<size_t>(example.scored.rend() - last);
  example.ids.resize(end);
  example.scored.resize(end);
  report.longest = std::max<uint64_t>(report.longest, end);
  if (end <= seq + 1) return true;
  size_t response = end;  // where the last one begins
  while (response > 0 && example.scored[response - 1]) --response;
  const size_t cut = end - (seq + 1);
  if (response <= cut) return false;
  example.ids.erase(example.ids.begin(), example.ids.begin() + static_cast<ptrdiff_t>(cut));
  example.scored.erase(example.scored.begin(), example.scored.begin() + static_cast<ptrdiff_t>(cut));
  example.scored[0] = 0;
  ++report.truncated;
  return true;
}

void add(const Line& line, ReadLine& read, size_t seq, std::vector<SftExample>& examples, SftReport& report) {
  if (read.error) {
    const ErrorFields& fields = read.error->fields();
    if (read.error->code() == ErrorCode::kUsage) throw *read.error;
    const std::string where =
        fields.path.empty() ? ""
                            : fields.path + (fields.line ? ":" + std::to_string(*fields.line) : "") + ": ";
    fail_in(*line.path, where + fields.what, fields.hint, line.number);
  }
  ++report.lines;
  ++(read.form == Form::kPrompt         ? report.prompts
     : read.form == Form::kConversation ? report.conversations
                                        : report.questions);
  if (!fit(read.example, seq, report)) {
    ++report.dropped;
    return;
  }
  ++report.examples;
  report.tokens += read.example.ids.size();
  report.targets +=
      static_cast<uint64_t>(std::count(read.example.scored.begin(), read.example.scored.end(), 1));
  examples.push_back(std::move(read.example));
}

}  // namespace

std::string SftReport::text() const {
  std::string kinds;
  for (const auto& [count, name] : {std::pair(prompts, "prompts"), std::pair(conversations, "conversations"),
                                    std::pair(questions, "questions")}) {
    if (count > 0) kinds += (kinds.empty() ? "" : ", ") + fmt::format("{} {}", count, name);
  }
  std::string line =
      fmt::format("{} examples ({}): {} tokens, {} of them targets", examples, kinds, tokens, targets);
  if (truncated > 0)
    line += fmt::format("; {} cut on the left (the longest has {} tokens)", truncated, longest);
  if (dropped > 0)
    line += fmt::format("; {} left out, whose response alone is longer than a window", dropped);
  return line;
}

std::vector<SftExample> read_sft_examples(const std::vector<fs::path>& paths, const Tokenizer& tokenizer,
                                          const ChatTemplate* chat, const SftOptions& options,
                                          SftReport& report) {
  if (options.seq == 0) usage_error("a sequence length of 0", "give --seq 1 or more");
  if (paths.empty()) usage_error("no examples given", "name files of JSON lines");
  report = {};
  const LineParser parser(tokenizer, chat, options);
  std::vector<SftExample> examples;
  std::vector<Line> lines;
  const auto flush = [&] {
    std::vector<ReadLine> read(lines.size());
    parallel_for(lines.size(), [&](size_t i) { read[i] = parser.parse(lines[i]); });
    for (size_t i = 0; i < lines.size(); ++i) add(lines[i], read[i], options.seq, examples, report);
    lines.clear();
  };
  for (const fs::path& path : paths) {
    LineReader reader(path);
    for (std::string text; reader.next(text);) {
      if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
      lines.push_back({text, &path, reader.number()});
      if (lines.size() == kLinesAtATime) flush();
    }
    flush();
  }
  if (examples.empty()) {
    fail_in(paths[0],
            report.dropped > 0
                ? "no response fits into a window of " + std::to_string(options.seq) + " tokens"
                : "holds no example",
            report.dropped > 0 ? "give a larger --seq" : kForms);
  }
  return examples;
}

std::pair<std::vector<SftExample>, std::vector<SftExample>> split_examples(std::vector<SftExample> examples,
                                                                           double fraction, uint64_t seed) {
  if (!(fraction >= 0 && fraction < 1))
    usage_error(fmt::format("a share of {} for validation", fraction), "give 0 or more, and less than 1");
  std::pair<std::vector<SftExample>, std::vector<SftExample>> parts;
  const size_t n = examples.size();
  if (fraction == 0) return {std::move(examples), {}};
  if (n < 2)
    fail("one example cannot be split into training and validation", "give more, or no share for validation");
  const auto wanted = static_cast<size_t>(std::llround(fraction * static_cast<double>(n)));
  const size_t count = std::clamp<size_t>(wanted, 1, n - 1);
  const Permutation order(n, seed);
  for (size_t i = 0; i < n; ++i)
    (order(i) < count ? parts.second : parts.first).push_back(std::move(examples[i]));
  return parts;
}

}  // namespace fathom
