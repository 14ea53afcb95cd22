#include "cli/text_input.h"

#include <algorithm>

#include "cli/model_loading.h"
#include "core/error.h"
#include "text/dataset.h"

namespace fathom::cli {
namespace {

void expect_vocabulary(size_t vocab_size, const std::filesystem::path& path, const ModelConfig& config) {
  if (vocab_size <= config.vocab_size) return;
  fail({.what = "has a vocabulary of " + std::to_string(vocab_size) + ", the model one of " +
                std::to_string(config.vocab_size),
        .path = path.string(),
        .hint = "it belongs to another model"});
}

// The validation split in windows of `seq` inputs, as evaluation during training reads it.
TokenSequences read_validation(const TokenData& data, size_t seq, uint64_t max_tokens) {
  TokenSequences sequences;
  const uint64_t size = data.valid().size();
  uint64_t scored = 0;
  for (uint64_t begin = 0; begin + 1 < size && (max_tokens == 0 || scored < max_tokens); begin += seq) {
    const auto n = static_cast<size_t>(std::min<uint64_t>(seq + 1, size - begin));
    sequences.emplace_back(n);
    data.valid().read(begin, n, sequences.back().data());
    scored += n - 1;
  }
  if (sequences.empty()) {
    fail({.what = "has no validation split",
          .path = data.folder().string(),
          .hint = "make it with --valid-fraction"});
  }
  return sequences;
}

// A sequence is run as it was given: one that is longer than the context has no answer.
void expect_context(const TokenSequences& sequences, const std::string& path, size_t context) {
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].size() <= context + 1) continue;
    fail({.what = "sequence " + std::to_string(s + 1) + " has " + std::to_string(sequences[s].size()) +
                  " ids, more than the model's context of " + std::to_string(context) + " and a last target",
          .path = path,
          .hint = "cut it into shorter ones"});
  }
}

// Keeps the first sequences, those that hold `max_tokens` targets; 0 keeps all.
void keep_tokens(TokenSequences& sequences, uint64_t max_tokens) {
  uint64_t scored = 0;
  for (size_t s = 0; max_tokens > 0 && s < sequences.size(); ++s) {
    scored += sequences[s].size() - 1;
    if (scored >= max_tokens) sequences.resize(s + 1);
  }
}

}  // namespace

void add_text_options(Command command, TextInput& input) {
  command.option("--text", input.text,
                 "Text to read: what `fathom data` reads (.txt, .jsonl, .gz, .zst, folders)");
  command.option("--token-ids", input.token_ids, "A JSON array of sequences of token ids, instead of --text");
  command.option("--data", input.data,
                 "A folder made by `fathom data`: its validation split, instead of --text");
  command.option("--tokens", input.tokens, "Stop after about this many tokens (0: all)").shows_default();
  command.option("--seq", input.seq, "Tokens of a window (default: the model's context, at most 1024)");
}

TokenSequences read_sequences(const TextInput& input, const std::filesystem::path& folder,
                              const ModelConfig& config) {
  const int given =
      (input.text.empty() ? 0 : 1) + (input.token_ids.empty() ? 0 : 1) + (input.data.empty() ? 0 : 1);
  if (given != 1) usage_error("give one of --text, --token-ids and --data");
  if (!input.token_ids.empty() && input.seq > 0)
    usage_error("--seq cuts a text, and --token-ids are sequences already", "leave --seq out");
  const size_t context = config.max_position_embeddings;
  if (input.seq > context)
    usage_error("--seq " + std::to_string(input.seq) + " is longer than the model's context of " +
                std::to_string(context));
  const size_t seq = input.seq > 0 ? input.seq : std::min<size_t>(context, 1024);
  TokenSequences sequences;
  if (!input.token_ids.empty()) {
    sequences = read_token_ids_json(input.token_ids, config.vocab_size);
    expect_context(sequences, input.token_ids, context);
  } else if (!input.data.empty()) {
    const TokenData data(input.data);
    expect_vocabulary(data.info().vocab_size, input.data, config);
    warn_of_other_tokenizer(data, folder);
    return read_validation(data, seq, input.tokens);
  } else {
    const Tokenizer tokenizer = load_tokenizer(folder);
    expect_vocabulary(tokenizer.vocab_size(), folder, config);
    sequences = text_to_windows(tokenizer, {input.text.begin(), input.text.end()}, seq, input.tokens);
  }
  keep_tokens(sequences, input.tokens);
  return sequences;
}

}  // namespace fathom::cli
