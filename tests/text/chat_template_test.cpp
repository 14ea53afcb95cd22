// Where a model's chat template is found, and which tokens of a conversation are targets.

#include <fstream>

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "text/chat_template.h"
#include "text/helpers.h"

namespace fathom {
namespace {

using Ids = std::vector<int32_t>;

std::string data_text(const std::string& name) {
  std::ifstream file(std::string(FATHOM_TEST_DATA) + "/text/data/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A family's tokenizer (700 ids) and its chat template.
struct Family {
  std::string tokenizer, chat, bos, eos, end_of_turn;
  bool add_bos = false;
};

Tokenizer tokenizer_of(const Family& family) {
  const ScratchFolder folder;
  folder.write("tokenizer.json", parse_json(data_text(family.tokenizer + ".json")).at("tokenizer").dump());
  nlohmann::json config = {{"eos_token", family.eos}, {"add_bos_token", family.add_bos}};
  if (!family.bos.empty()) config["bos_token"] = family.bos;
  if (family.add_bos) config["tokenizer_class"] = "LlamaTokenizer";
  folder.write("tokenizer_config.json", config.dump());
  return Tokenizer::load(folder.path());
}

ChatTemplate chat_of(const Family& family) {
  return ChatTemplate(data_text("chat/" + family.chat + ".jinja"), family.bos, family.eos,
                      "chat_template.jinja");
}

ChatRequest request_of(const std::string& messages) {
  ChatRequest request;
  request.messages = ChatJson::parse(messages);
  return request;
}

/// What the targets stand for; a special token as <id>.
std::string scored_text(const TokenizedChat& chat, const Tokenizer& tokenizer) {
  std::string text;
  for (size_t i = 0; i < chat.ids.size(); ++i) {
    const std::string_view bytes = tokenizer.bytes_of(chat.ids[i]);
    if (chat.scored[i]) text += bytes.empty() ? "<" + std::to_string(chat.ids[i]) + ">" : std::string(bytes);
  }
  return text;
}

const char* const kFourTurns =
    R"([{"role": "user", "content": "the river?"}, {"role": "assistant", "content": "A depth of 3.5"},
  {"role": "user", "content": "and\n\nthe captain"}, {"role": "assistant", "content": "Weather; unremarkable."}])";

class ChatFamily : public ::testing::TestWithParam<Family> {};

TEST_P(ChatFamily, ScoresTheAnswersAndTheirEndOfTurnAndNothingElse) {
  const Family& family = GetParam();
  const Tokenizer tokenizer = tokenizer_of(family);
  const ChatTemplate chat = chat_of(family);
  const int32_t end = tokenizer.encode(family.end_of_turn, SpecialTokens::kParse).back();
  const bool is_special = tokenizer.bytes_of(end).empty();
  const std::string mark = is_special ? "<" + std::to_string(end) + ">" : family.end_of_turn;
  const TokenizedChat made = chat.encode_for_training(request_of(kFourTurns), tokenizer);
  std::string text = scored_text(made, tokenizer);
  if (!is_special) std::erase(text, '\n');  // a line feed is taken off behind a special token only
  std::erase(text, ' ');
  EXPECT_EQ(text, "Adepthof3.5" + mark + "Weather;unremarkable." + mark);
  EXPECT_EQ(made.ids, chat.encode(request_of(kFourTurns), tokenizer));
  if (is_special) {
    EXPECT_EQ(chat.end_of_turn(tokenizer), end);
  }
  const TokenizedChat last = chat.encode_for_training(request_of(kFourTurns), tokenizer, true);
  EXPECT_EQ(last.ids, made.ids);
  EXPECT_LT(std::count(last.scored.begin(), last.scored.end(), 1),
            std::count(made.scored.begin(), made.scored.end(), 1));
}

TEST_P(ChatFamily, ScoresJustWhatFollowsThePromptThatTheModelIsGiven) {
  const Family& family = GetParam();
  const Tokenizer tokenizer = tokenizer_of(family);
  const ChatTemplate chat = chat_of(family);
  ChatRequest asked = request_of(kFourTurns);
  const TokenizedChat whole = chat.encode_for_training(asked, tokenizer, true);
  asked.messages.erase(3);
  asked.add_generation_prompt = true;
  const Ids prompt = chat.encode(asked, tokenizer);
  ASSERT_LT(prompt.size(), whole.ids.size());
  EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), whole.ids.begin()));
  const auto first = std::find(whole.scored.begin(), whole.scored.end(), 1) - whole.scored.begin();
  EXPECT_EQ(static_cast<size_t>(first), prompt.size());
}

TEST_P(ChatFamily, WritesTheBosOfTheTemplateAndNoOther) {
  const Family& family = GetParam();
  const Tokenizer tokenizer = tokenizer_of(family);
  if (family.add_bos) {
    EXPECT_TRUE(tokenizer.add_bos());
  }
  const Ids ids = chat_of(family).encode(request_of(R"([{"role": "user", "content": "a"}])"), tokenizer);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer.bos_id()), family.bos.empty() ? 0 : 1);
  if (!family.bos.empty()) {
    EXPECT_EQ(ids.front(), tokenizer.bos_id());
  }
}

INSTANTIATE_TEST_SUITE_P(ChatTemplate, ChatFamily,
                         ::testing::Values(Family{"smollm2", "smollm2", "", "<|im_end|>", "<|im_end|>"},
                                           Family{"qwen2", "qwen2.5", "", "<|im_end|>", "<|im_end|>"},
                                           Family{"qwen2", "generation", "", "<|im_end|>", "<|im_end|>"},
                                           Family{"llama-3", "llama-3", "<|begin_of_text|>", "<|eot_id|>",
                                                  "<|eot_id|>", true},
                                           Family{"llama-2", "llama-2", "<s>", "</s>", "</s>", true},
                                           Family{"mistral", "mistral-v1", "<s>", "</s>", "</s>", true},
                                           Family{"deepseek-v3", "deepseek-v3", "<｜begin▁of▁sentence｜>",
                                                  "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>"},
                                           Family{"gemma", "gemma", "<bos>", "<eos>", "<end_of_turn>"}),
                         [](const auto& info) {
                           std::string name = info.param.chat;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

const Family kSmol{"smollm2", "smollm2", "", "<|im_end|>", "<|im_end|>"};

TEST(ChatTemplate, PutsABosInFrontOfChatMlWhereTheTokenizerAddsOne) {
  const Tokenizer tokenizer = tokenizer_of({"llama-2", "", "<s>", "</s>", "", true});
  const ChatTemplate chat = ChatTemplate::chatml();
  EXPECT_TRUE(chat.is_fallback());
  const Ids ids = chat.encode(request_of(R"([{"role": "user", "content": "a"}])"), tokenizer);
  EXPECT_EQ(ids.front(), tokenizer.bos_id());
  const Ids without = chat.encode(request_of(R"([{"role": "user", "content": "a"}])"), tokenizer_of(kSmol));
  EXPECT_EQ(tokenizer_of(kSmol).bytes_of(without.front()), "");  // <|im_start|>
}

TEST(ChatTemplate, ToleratesWhatATemplateWritesBehindTheLastTurnAlone) {
  // Phi-3 ends a conversation with its EOS, which is gone where another turn follows.
  const Family phi{"smollm2", "phi-3", "", "<|endoftext|>", ""};
  const Tokenizer tokenizer = tokenizer_of(phi);
  const TokenizedChat chat = chat_of(phi).encode_for_training(request_of(kFourTurns), tokenizer);
  const std::string text = scored_text(chat, tokenizer);
  EXPECT_TRUE(contains(text, "A depth of 3.5<|end|>"));
  EXPECT_EQ(text.find("user"), std::string::npos) << text;
  EXPECT_EQ(text.find("captain"), std::string::npos) << text;
}

TEST(ChatTemplate, RefusesToGuessWhereAnEarlierAnswerIsWrittenOtherwise) {
  // Qwen 3 takes the thoughts out of all answers but the last.
  const Family qwen{"qwen2", "qwen3", "", "<|im_end|>", ""};
  const Tokenizer tokenizer = tokenizer_of(qwen);
  const ChatTemplate chat = chat_of(qwen);
  ChatRequest request = request_of(kFourTurns);
  request.messages[1]["content"] = "<think>\nhm\n</think>\n\nA depth of 3.5";
  const std::string error = error_of([&] { chat.encode_for_training(request, tokenizer); });
  EXPECT_TRUE(contains(error, "the first 2 turns alone are written as"));
  EXPECT_TRUE(
      contains(error, "give each answer as a conversation of its own, or train on the last turns only"));
}

TEST(ChatTemplate, SaysThatAConversationHasNoAnswerOrThatTheTemplateRefusesIt) {
  const Tokenizer tokenizer = tokenizer_of(kSmol);
  const auto error = [&](const std::string& chat, const std::string& messages) {
    return error_of([&] {
      chat_of({"", chat, "<s>", "</s>", ""}).encode_for_training(request_of(messages), tokenizer);
    });
  };
  EXPECT_TRUE(
      contains(error("smollm2", R"([{"role": "user", "content": "a"}])"), "the conversation has no answer"));
  EXPECT_TRUE(contains(
      error("gemma", R"([{"role": "system", "content": "a"}])"),
      "chat_template.jinja:1: the chat template refuses the conversation: System role not supported"));
  EXPECT_TRUE(
      contains(error("smollm2", R"([{"role": "user"}])"), "chat_template.jinja:4: a dict has no 'content'"));
}

TEST(ChatTemplate, IsFoundWhereTransformersLooks) {
  const ChatRequest request = request_of(R"([{"role": "user", "content": "a"}])");
  const ScratchFolder folder;
  EXPECT_FALSE(ChatTemplate::find(folder.path()));
  folder.write("chat_template.json", R"({"chat_template": "in json {{ bos_token is defined }}"})");
  EXPECT_EQ(ChatTemplate::find(folder.path())->render(request).text, "in json False");
  folder.write("tokenizer_config.json",
               R"({"bos_token": {"content": "<s>"}, "chat_template": "in config {{ bos_token }}"})");
  EXPECT_EQ(ChatTemplate::find(folder.path())->render(request).text, "in config <s>");
  folder.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain{{ eos_token }}"}]})");
  folder.write("special_tokens_map.json", R"({"eos_token": "</s>"})");
  EXPECT_EQ(ChatTemplate::find(folder.path())->render(request).text, "plain</s>");
  ChatRequest with_tools = request;
  with_tools.tools = ChatJson::array({"f"});
  EXPECT_EQ(ChatTemplate::find(folder.path())->render(with_tools).text, "tools");
  folder.write("chat_template.jinja", "in jinja\n");
  EXPECT_EQ(ChatTemplate::find(folder.path())->render(request).text, "in jinja");
}

TEST(ChatTemplate, NamesTheFileOfATemplateThatDoesNotParse) {
  const ScratchFolder folder;
  folder.write("tokenizer_config.json", R"({"chat_template": "a\n{% if %}"})");
  EXPECT_TRUE(contains(error_of([&] { ChatTemplate::find(folder.path()); }),
                       "tokenizer_config.json:2: the end of a tag where an expression is wanted"));
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_TRUE(
      contains(error_of([&] { ChatTemplate::find(folder.path()); }), "no template named \"default\""));
  folder.write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_TRUE(contains(error_of([&] { ChatTemplate::find(folder.path()); }), "must be a text, or a list"));
  folder.write("chat_template.jinja", "\xff");
  EXPECT_TRUE(contains(error_of([&] { ChatTemplate::find(folder.path()); }), "not valid UTF-8"));
}

TEST(ChatTemplate, ReadsTheTimeThatItIsGiven) {
  const ChatTemplate chat("{{ strftime_now('%d %b %Y') }}", "", "", "t");
  EXPECT_EQ(chat.render({}, 1732579200).text, "26 Nov 2024");
}

}  // namespace
}  // namespace fathom
