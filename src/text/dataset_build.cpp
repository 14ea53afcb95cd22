// Writing a data folder: the half of dataset.h that makes one.

#include <algorithm>
#include <array>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/progress.h"
#include "core/rng.h"
#include "core/temporary_path.h"
#include "core/unfinished.h"
#include "text/corpus.h"
#include "text/dataset.h"
#include "text/text_error.h"
#include "text/tokenizer_config.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatchBytes = size_t{8} << 20;  // text in memory while it is tokenized
constexpr size_t kBatchDocuments = 4096;

fs::path partial_path(const fs::path& folder) {
  fs::path path = without_trailing_slash(folder);
  path += ".partial";
  return path;
}

bool is_our_file(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.find(kShardSuffix) != std::string::npos || name.starts_with("data.json") ||
         is_tokenizer_file(name);
}

/// Removes what an interrupted run left. Errors: Error where there is something that no run of ours wrote.
void remove_partial(const fs::path& partial) {
  if (!fs::exists(partial)) return;
  constexpr const char* kMove = "move it away, or choose another --out";
  if (!fs::is_directory(partial)) fail_in(partial, "stands in the way of the data under construction", kMove);
  for (const fs::directory_entry& entry : fs::directory_iterator(partial)) {
    if (entry.is_regular_file() && is_our_file(entry.path())) continue;
    fail_in(entry.path(), "stands in the way of the data under construction", kMove);
  }
  std::error_code error;
  fs::remove_all(partial, error);
}

void refuse_used(const fs::path& folder) {
  if (fs::exists(folder / "data.json"))
    refuse_taken(folder, "holds another dataset already", "choose another --out, or remove the folder first");
  require_free(folder);
}

nlohmann::ordered_json split_json(const SplitInfo& split) {
  return {{"tokens", split.tokens},
          {"documents", split.documents},
          {"bytes", split.bytes},
          {"files", split.files}};
}

}  // namespace

struct DataWriter::State {
  struct Split {
    const char* name;
    SplitInfo info;
    std::unique_ptr<ShardWriter> writer;
  };
  fs::path folder, partial;
  std::optional<Unfinished> unfinished = {};
  Tokenizer tokenizer;
  uint64_t tokens_per_shard;
  bool finished = false;
  std::array<Split, 2> splits{Split{"train", {}, nullptr}, Split{"valid", {}, nullptr}};

  void close(Split& split) {
    if (!split.writer) return;
    const ShardInfo shard = split.writer->finish();
    split.info.tokens += shard.tokens;
    split.info.documents += shard.documents;
    split.writer.reset();
  }
};

DataWriter::DataWriter(const fs::path& folder, const Tokenizer& tokenizer, uint64_t tokens_per_shard)
    : state_(new State{.folder = folder,
                       .partial = partial_path(folder),
                       .tokenizer = tokenizer,
                       .tokens_per_shard = tokens_per_shard}) {
  refuse_used(folder);
  remove_partial(state_->partial);
  state_->unfinished.emplace(state_->partial);
  std::error_code error;
  fs::create_directories(state_->partial, error);
  if (error) fail_in(state_->partial, "cannot create the folder: " + error.message(), "choose another --out");
}

DataWriter::~DataWriter() {
  if (state_->finished) return;
  for (State::Split& split : state_->splits) split.writer.reset();
  std::error_code ignored;
  fs::remove_all(state_->partial, ignored);
}

void DataWriter::add(bool valid, std::span<const int32_t> ids, uint64_t bytes) {
  State::Split& split = state_->splits[valid];
  if (split.writer && split.writer->info().tokens + ids.size() >= state_->tokens_per_shard)
    state_->close(split);
  if (!split.writer) {
    split.info.files.push_back(fmt::format("{}-{:05}{}", split.name, split.info.files.size(), kShardSuffix));
    split.writer = std::make_unique<ShardWriter>(
        state_->partial / split.info.files.back(), static_cast<uint32_t>(state_->tokenizer.vocab_size()),
        state_->tokenizer.required_eos_id(), state_->tokenizer.fingerprint());
  }
  split.writer->add_document(ids);
  split.info.bytes += bytes;
}

DataInfo DataWriter::finish(DataInfo info) {
  State& s = *state_;
  for (State::Split& split : s.splits) s.close(split);
  info.vocab_size = static_cast<uint32_t>(s.tokenizer.vocab_size());
  info.eos_id = s.tokenizer.required_eos_id();
  info.tokenizer_fingerprint = s.tokenizer.fingerprint();
  info.train = s.splits[0].info;
  info.valid = s.splits[1].info;
  s.tokenizer.save(s.partial);
  const nlohmann::ordered_json json = {
      {"format", "fathom-data"},
      {"version", 1},
      {"vocab_size", info.vocab_size},
      {"eos_id", info.eos_id},
      {"tokenizer_fingerprint", fingerprint_text(info.tokenizer_fingerprint)},
      {"seed", info.seed},
      {"valid_fraction", info.valid_fraction},
      {"inputs", info.inputs},
      {"train", split_json(info.train)},
      {"valid", split_json(info.valid)}};
  write_text_file(s.partial / "data.json", json.dump(2) + "\n");
  std::error_code error;
  fs::rename(s.partial, s.folder, error);  // an empty folder of this name is replaced
  if (error)
    fail_in(s.folder, "cannot move " + s.partial.string() + " here: " + error.message(), "move it by hand");
  s.finished = true;
  sync_folder(s.folder.has_parent_path() ? s.folder.parent_path() : ".");
  return info;
}

namespace {

bool is_validation(uint64_t seed, uint64_t document, double fraction) {
  return Rng(seed, document).uniform() < fraction;
}

/// Tokenizes a corpus into the writer; `is_valid` picks the split of a document by its index.
template <class IsValid>
void tokenize(CorpusReader& corpus, const Tokenizer& tokenizer, DataWriter& writer, Progress& progress,
              IsValid is_valid) {
  progress.begin("tokenizing", corpus.bytes_total(), "bytes");
  std::vector<std::string> texts;
  uint64_t first = 0, tokens = 0;  // index of texts[0] in the corpus
  size_t batch_bytes = 0;
  const auto flush = [&] {
    const auto ids = tokenizer.encode_batch(texts);
    for (size_t i = 0; i < ids.size(); ++i) {
      writer.add(is_valid(first + i), ids[i], texts[i].size());
      tokens += ids[i].size() + 1;
    }
    first += texts.size();
    texts.clear();
    batch_bytes = 0;
    progress.update(corpus.bytes_done(), fmt::format("{} tokens", tokens));
  };
  for (Document document; corpus.next(document);) {
    batch_bytes += document.text.size();
    texts.push_back(std::move(document.text));
    if (batch_bytes >= kBatchBytes || texts.size() >= kBatchDocuments) flush();
  }
  flush();
  progress.end();
}

}  // namespace

DataInfo build_data(const BuildDataOptions& options, const Tokenizer& tokenizer, Progress& progress) {
  CorpusReader corpus(options.inputs);
  const bool separate = !options.valid_inputs.empty();
  const double fraction = separate ? 0.0 : options.valid_fraction;
  std::unique_ptr<CorpusReader> valid_corpus;
  if (separate) valid_corpus = std::make_unique<CorpusReader>(options.valid_inputs);
  DataWriter writer(options.out, tokenizer, options.tokens_per_shard);
  tokenize(corpus, tokenizer, writer, progress,
           [&](uint64_t i) { return is_validation(options.seed, i, fraction); });
  if (separate) tokenize(*valid_corpus, tokenizer, writer, progress, [](uint64_t) { return true; });
  DataInfo info;
  info.seed = options.seed;
  info.valid_fraction = fraction;
  for (const fs::path& input : options.inputs) info.inputs.push_back(input.string());
  for (const fs::path& input : options.valid_inputs) info.inputs.push_back(input.string());
  return writer.finish(std::move(info));
}

}  // namespace fathom
