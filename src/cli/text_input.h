#pragma once
// The text that diagnosis reads: --text, --token-ids or --data, as sequences of ids.

#include <filesystem>
#include <string>
#include <vector>

#include "cli/command.h"
#include "model/config.h"
#include "text/windows.h"

namespace fathom::cli {

struct TextInput {
  std::vector<std::string> text;
  std::string token_ids, data;
  uint64_t tokens = 0;  ///< 0: all
  size_t seq = 0;       ///< 0: min(context, 1024)

  bool given() const { return !text.empty() || !token_ids.empty() || !data.empty(); }
};

/// Adds --text, --token-ids, --data, --tokens and --seq.
void add_text_options(Command command, TextInput& input);

/// Reads what was given, exactly one of the three. `folder` holds the model and its tokenizer. Errors: Error
/// (usage) where none or several are given, --seq goes with --token-ids or is longer than the model's
/// context; Error where the tokenizer or the data are another vocabulary's, or a sequence of --token-ids is
/// longer than the context.
TokenSequences read_sequences(const TextInput& input, const std::filesystem::path& folder,
                              const ModelConfig& config);

}  // namespace fathom::cli
