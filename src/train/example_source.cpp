#include "train/example_source.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/format.h"
#include "core/rng.h"
#include "text/sft.h"

namespace fathom {

std::vector<std::filesystem::path> example_files(const std::string& paths) {
  if (paths.empty()) return {};
  if (std::filesystem::exists(paths)) return {paths};
  std::vector<std::filesystem::path> files;
  for (size_t begin = 0; begin <= paths.size();) {
    const size_t end = std::min(paths.find(',', begin), paths.size());
    files.emplace_back(paths.substr(begin, end - begin));
    begin = end + 1;
  }
  return files;
}

ExampleSource::ExampleSource(const TrainSettings& s, const ExampleInput& input)
    : vocab_size_(input.tokenizer.vocab_size()),
      tokenizer_fingerprint_(input.tokenizer.fingerprint()),
      eos_id_(input.tokenizer.eos_id()) {
  if (std::filesystem::is_directory(s.data)) {
    usage_error(s.data + ": is a folder; examples are lines of a file (.jsonl)",
                "for token shards: fathom train --from");
  }
  SftOptions options{.seq = s.seq,
                     .task = s.task,
                     .system_prompt = s.system,
                     .chat_prompts = s.chat_prompts,
                     .last_turn_only = s.last_turn_only};
  if (s.chat_time != kUnset) options.now = static_cast<int64_t>(s.chat_time);
  SftReport report, valid_report;
  std::vector<SftExample> training =
      read_sft_examples(example_files(s.data), input.tokenizer, input.chat.get(), options, report);
  std::vector<SftExample> validation;
  description_ = report.text();
  if (!s.valid_data.empty()) {
    validation = read_sft_examples(example_files(s.valid_data), input.tokenizer, input.chat.get(), options,
                                   valid_report);
    description_ += "; for validation " + valid_report.text();
  } else if (s.valid_fraction > 0) {
    std::tie(training, validation) = split_examples(std::move(training), s.valid_fraction, s.data_seed);
    description_ += fmt::format("; {} of them for validation", validation.size());
  }
  for (const SftExample& e : training) train_tokens_ += e.ids.size() - 1;
  const int32_t pad = eos_id_ >= 0 ? eos_id_ : 0;
  loader_ = std::make_unique<SftLoader>(std::move(training), std::move(validation), s.seq, s.data_seed, pad);
  description_ += fmt::format("; windows of {} are {:.0f}% full", s.seq, 100 * loader_->fill());
}

std::string ExampleSource::fingerprint() const {
  return fingerprint_text(mix64(loader_->fingerprint() ^ mix64(tokenizer_fingerprint_)));
}

}  // namespace fathom
