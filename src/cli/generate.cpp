// fathom generate: continue a prompt.

#include <algorithm>
#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "core/error.h"
#include "core/log.h"
#include "eval/generate.h"
#include "text/tokenizer.h"

namespace fathom::cli {
namespace {

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, prompt, chat, system, dtype = "bf16";
  bool is_chat = false, no_special = false;
  size_t max_tokens = 100;
  SamplingSettings sampling;
};

/// What the model reads, and the token that ends its answer.
struct Prompt {
  std::vector<int32_t> ids;
  int32_t stop;
};

Prompt prompt_of(const Options& o, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids =
      tokenizer.encode(o.prompt, o.no_special ? SpecialTokens::kText : SpecialTokens::kParse);
  const bool has_bos = !ids.empty() && ids.front() == tokenizer.bos_id();
  // Some have no BOS: the EOS in front of a document is as good.
  if ((tokenizer.add_bos() && !has_bos) || ids.empty())
    ids.insert(ids.begin(), tokenizer.bos_id() >= 0 ? tokenizer.bos_id() : tokenizer.required_eos_id());
  return {std::move(ids), tokenizer.eos_id()};
}

Prompt chat_of(const Options& o, const Tokenizer& tokenizer, const std::filesystem::path& model) {
  const ChatTemplate chat = load_chat_template(model);
  if (chat.is_fallback()) log_info("the model brings no chat template: the message is written as ChatML");
  ChatRequest request;
  if (!o.system.empty()) request.messages.push_back({{"role", "system"}, {"content", o.system}});
  request.messages.push_back({{"role", "user"}, {"content", o.chat}});
  request.add_generation_prompt = true;
  return {chat.encode(request, tokenizer), chat.end_of_turn(tokenizer)};
}

template <class W>
void run(const Options& o) {
  validate(o.sampling);
  OpenedModel<W> m = open_model<W>(o.model, granted_memory(0), false);
  const Tokenizer tokenizer = load_tokenizer(m.folder);
  if (tokenizer.vocab_size() > m.config.vocab_size) {
    fail("the tokenizer has " + std::to_string(tokenizer.vocab_size()) + " entries, the model " +
             std::to_string(m.config.vocab_size),
         "the folder's tokenizer belongs to another model");
  }
  const auto [ids, stop] = o.is_chat ? chat_of(o, tokenizer, m.folder) : prompt_of(o, tokenizer);

  read_ahead(m);
  fmt::print("{}", o.prompt);
  SamplingSettings sampling = o.sampling;
  sampling.vocab_size = tokenizer.vocab_size();
  const auto start = std::chrono::steady_clock::now();
  const auto since_start = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  // A chat may end by one token or another, and a model's config may list several.
  const auto ends_text = [&](int32_t id) {
    const auto& more = m.config.more_eos_token_ids;
    return id == tokenizer.eos_id() || std::find(more.begin(), more.end(), id) != more.end();
  };
  double first_s = 0;  // until the first token: the prompt's pass
  const auto print_token = [&](int32_t id) {
    if (first_s == 0) first_s = since_start();
    if (ends_text(id)) return false;
    const std::string_view bytes = tokenizer.bytes_of(id);
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
    return true;
  };
  std::vector<int32_t> output = generate(*m.transformer, ids, o.max_tokens, stop, sampling, print_token);
  if (!output.empty() && ends_text(output.back())) output.pop_back();
  const double elapsed_s = since_start();
  fmt::print("\n");
  const auto per_second = [](size_t tokens, double s) {
    return s > 0 ? static_cast<double>(tokens) / s : 0.0;
  };
  const double rate = per_second(output.size(), elapsed_s), of_prompt = per_second(ids.size(), first_s);
  // A rate takes two tokens: the first comes of the prompt's pass.
  const double of_new = output.size() > 1 ? per_second(output.size() - 1, elapsed_s - first_s) : 0;
  log_info(fmt::format("{} tokens in {:.2f} s: prompt {} tokens, {:.0f} a second; then {:.1f} a second",
                       output.size(), elapsed_s, ids.size(), of_prompt, of_new));
  write_result(*o.common, {{"prompt_ids", ids},
                           {"output_ids", output},
                           {"text", tokenizer.decode(output)},
                           {"tokens_per_second", rate},
                           {"prompt_tokens_per_second", of_prompt},
                           {"new_tokens_per_second", of_new},
                           {"seed", o.sampling.seed}});
}

}  // namespace

void add_generate(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(
      app, "generate", "Continue a prompt",
      "fathom generate runs/lns --prompt \"The reason is\" --temperature 0.8 --top-p 0.95 --seed 1",
      o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder").required();
  const Option prompt =
      c.option("--prompt", o->prompt,
               "Text to continue; names of special tokens in it (<|im_start|>) stand for these");
  const Option chat =
      c.option("--chat", o->chat, "Message to answer, through the model's chat template").excludes(prompt);
  c.option("--system", o->system, "With --chat: the system message").needs(chat);
  c.flag("--no-special", o->no_special,
         "Spell the names of special tokens in --prompt out, as any other text")
      .needs(prompt);
  c.option("--max-tokens", o->max_tokens, "Tokens to generate at most").shows_default();
  c.option("--temperature", o->sampling.temperature, "Divides the logits; 0 takes the likeliest token")
      .shows_default();
  c.option("--top-k", o->sampling.top_k, "Sample among the k likeliest tokens; 0: all").shows_default();
  c.option("--top-p", o->sampling.top_p, "Sample among the likeliest tokens that sum to this")
      .shows_default();
  c.option("--seed", o->sampling.seed, "Same seed, same text").shows_default();
  c.option("--dtype", o->dtype, "fp32 or bf16").shows_default();
  c.runs([o, prompt, chat] {
    o->is_chat = chat.given();
    if (!o->is_chat && !prompt.given()) usage_error("nothing to generate from", "give --prompt or --chat");
    apply(*o->common);
    with_dtype(parse_dtype(o->dtype), [&]<class W>() { run<W>(*o); });
  });
}

}  // namespace fathom::cli
