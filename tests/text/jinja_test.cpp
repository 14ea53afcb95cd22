// The interpreter of chat templates against python3-jinja2 (tests/parity/check_chat_templates.py made what
// must come out), its limits, and its errors.

#include <cstdlib>
#include <fstream>

#include <nlohmann/json.hpp>

#include "text/chat_template.h"
#include "text/helpers.h"

namespace fathom {
namespace {

const ChatJson& golden() {
  static const ChatJson json = [] {
    // Another file of the same form, for a run over more random templates.
    const char* const other = std::getenv("FATHOM_CHAT_TEMPLATES");
    std::ifstream file(other ? other : std::string(FATHOM_TEST_DATA) + "/text/data/chat/renderings.json");
    return ChatJson::parse(file);
  }();
  return json;
}

std::string template_text(const std::string& name) {
  std::ifstream file(std::string(FATHOM_TEST_DATA) + "/text/data/chat/" + name + ".jinja");
  return {std::istreambuf_iterator<char>(file), {}};
}

ChatTemplate template_of(const std::string& source, const std::string& bos = {},
                         const std::string& eos = {}) {
  return ChatTemplate(source, bos, eos, "chat_template.jinja");
}

/// The text, or "ERROR: ..." where the template fails; `variables` are all that it sees.
std::string rendered(const std::string& source, const ChatJson& variables = nullptr) {
  ChatRequest request;
  request.variables = variables;
  try {
    return template_of(source).render(request, golden().at("now").get<int64_t>()).text;
  } catch (const Error& e) {
    return std::string("ERROR: ") + e.what();
  }
}

/// What jinja2 said to a source; null where it failed.
void expect_same(const std::string& text, const ChatJson& wanted, const std::string& source) {
  if (wanted.is_null())
    EXPECT_TRUE(text.starts_with("ERROR: ")) << "jinja2 fails, and here comes '" << text << "' of\n"
                                             << source;
  else
    EXPECT_EQ(text, wanted.get<std::string>()) << source;
}

TEST(Jinja, RendersTheTemplatesOfTheFamiliesAsJinja2Does) {
  const ChatJson& all = golden();
  size_t texts = 0;
  for (const ChatJson& c : all.at("cases")) {
    const auto name = c.at("template").get<std::string>();
    const auto tokens = all.at("tokens").value(name, ChatJson::array({"", "<|im_end|>"}));
    const ChatTemplate chat = template_of(template_text(name), tokens[0], tokens[1]);
    ChatRequest request;
    request.messages = all.at("conversations").at(c.at("conversation").get<std::string>());
    if (c.at("tools").get<bool>()) request.tools = all.at("tools");
    request.variables = c.at("variables");
    request.add_generation_prompt = c.at("prompt");
    std::string text;
    try {
      text = chat.render(request, all.at("now").get<int64_t>()).text;
      ++texts;
    } catch (const Error& e) {
      text = std::string("ERROR: ") + e.what();
    }
    expect_same(text, c.at("text"), name + ", " + c.at("conversation").get<std::string>());
  }
  EXPECT_GT(texts, 200u);
}

TEST(Jinja, GivesEachConstructItsMeaningInJinja2) {
  for (const ChatJson& c : golden().at("snippets")) {
    const auto source = c.at("source").get<std::string>();
    expect_same(rendered(source, golden().at("data")), c.at("text"), source);
  }
}

TEST(Jinja, AgreesWithJinja2OnRandomTemplates) {
  for (const ChatJson& c : golden().at("random")) {
    const auto source = c.at("source").get<std::string>();
    expect_same(rendered(source, golden().at("data")), c.at("text"), source);
    if (::testing::Test::HasFailure() && !std::getenv("FATHOM_CHAT_TEMPLATES")) break;
  }
}

TEST(Jinja, NamesTheConstructAndTheLineOfWhatItDoesNotKnow) {
  const auto fails = [](const std::string& source, const std::string& part) {
    EXPECT_TRUE(contains(rendered(source), part)) << source;
  };
  fails("a\n{{ x | shuffel }}", "chat_template.jinja:2: the filter 'shuffel' is not supported");
  fails("{{ x | lenght }}", "did the template mean 'length'?");
  fails("{{ x is strin }}", "did the template mean 'string'?");
  fails("\n\n{% include 'x' %}", "chat_template.jinja:3: the tag {% include %} is not supported");
  fails("{% for a in b recursive %}{% endfor %}", "recursive loops are not supported");
  fails("{{ f(*x) }}", "arguments after * or **");
  fails("{% if x %}", "has no {% endif %}");
  fails("{% break %}", "{% break %} outside of a loop");
  fails("{{ 'x", "a string has no end");
  fails("{# x", "a comment {# has no end #}");
  fails("{{ x }", "chat_template.jinja:1: unexpected '}'");
  fails("{% set true = 1 %}", "cannot assign to 'true'");
  fails("{{ messages[0].content.upper() }}", "chat_template.jinja:1: a list has no item 0");
  fails("{{ 'a'.format(1) }}", "the method 'format' of a str is not supported");
  fails("{{ raise_exception('only pairs') }}", "the chat template refuses the conversation: only pairs");
  fails("{{ '\\N{DASH}' }}", "the escape \\N{...} is not supported");
}

TEST(Jinja, StopsWhatWouldNotEndOrGrowsWithoutBound) {
  const auto fails = [](const std::string& source, const std::string& part) {
    EXPECT_TRUE(contains(rendered(source), part)) << source.substr(0, 100);
  };
  fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nests too deep");
  fails("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "MiB of values and text");
  fails("{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "MiB of values and text");
  fails("{{ 'ab' * 99999999999 }}", "MiB of values and text");
  fails("{{ [0] * 999999999 }}", "steps");
  fails("{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}",
        "nested more than");
  fails("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}", "nests too deep");
  fails("{{ " + std::string(100000, '[') + "1" + std::string(100000, ']') + " }}", "nests too deep");
  fails("{{ " + std::string(100000, '-') + "1 }}", "nests too deep");
  std::string chain = "{{ x", blocks;
  for (int i = 0; i < 10000; ++i) {
    chain += ".a";
    blocks += "{% if x %}";
  }
  fails(chain + " }}", "nests too deep");
  fails(blocks, "nest too deep");
  fails("{{ 9223372036854775807 + 1 }}", "does not fit into 64 bits");
  fails("{{ 99999999999999999999 }}", "too large");
  fails("{{ '%.99f' | format('x' * 10) }}", "wants a number");
  // A namespace that holds itself is freed with the rest (AddressSanitizer looks).
  EXPECT_EQ(rendered("{% set a = namespace() %}{% set a.b = namespace(c=a) %}{% set a.d = [a] %}x"), "x");
}

TEST(Jinja, NotesWhatTheModelGenerates) {
  const ChatTemplate chat = template_of(template_text("generation"));
  ChatRequest request;
  request.messages = golden().at("conversations").at("four turns");
  const RenderedChat rendered = chat.render(request);
  ASSERT_EQ(rendered.generated.size(), 2u);
  const auto [begin, end] = rendered.generated[0];
  EXPECT_EQ(rendered.text.substr(begin, end - begin), "It is 4.<|im_end|>");
}

}  // namespace
}  // namespace fathom
