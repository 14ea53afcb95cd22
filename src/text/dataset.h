#pragma once
// A data folder: train-00000.fathom-tokens, ..., valid-00000.fathom-tokens, ..., the tokenizer's files, and
// data.json, which says what belongs together. It is built under the name <folder>.partial and renamed when
// all of it is on the disk, so that a folder with a data.json is complete.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "text/shards.h"
#include "text/tokenizer.h"

namespace fathom {

struct SplitInfo {
  uint64_t tokens = 0;  ///< with an EOS for each document
  uint64_t documents = 0;
  uint64_t bytes = 0;  ///< UTF-8 bytes of text
  std::vector<std::string> files;
};

/// data.json.
struct DataInfo {
  uint32_t vocab_size = 0;
  int32_t eos_id = 0;
  uint64_t tokenizer_fingerprint = 0;
  uint64_t seed = 0;  ///< of the validation split
  double valid_fraction = 0;
  std::vector<std::string> inputs;
  SplitInfo train, valid;
};

/// The shards of one split as one sequence of tokens. Const members may be called by several threads at once.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Shard> shards);
  uint64_t size() const { return begins_.back(); }
  /// Copies ids [begin, begin + n) to `out`, over the ends of shards; the range must lie inside. Errors:
  /// Shard::read's.
  void read(uint64_t begin, size_t n, int32_t* out) const;
  const std::vector<Shard>& shards() const { return shards_; }

 private:
  std::vector<Shard> shards_;
  std::vector<uint64_t> begins_;  // of each shard, and the end
};

/// A data folder opened for reading.
class TokenData {
 public:
  /// Errors: Error where the folder is missing, not a complete data folder, or its parts do not belong
  /// together.
  explicit TokenData(const std::filesystem::path& folder);

  const DataInfo& info() const { return info_; }
  const std::filesystem::path& folder() const { return folder_; }
  const TokenStream& train() const { return *train_; }
  const TokenStream& valid() const { return *valid_; }
  /// Shard::verify of every shard, on all threads: once at the start of a run.
  void verify() const;

 private:
  std::filesystem::path folder_;
  DataInfo info_;
  std::unique_ptr<TokenStream> train_, valid_;
};

/// Warns where the tokenizer in `model`'s folder, if there is one, is not that which made the data: the same
/// ids would stand for other text, and nothing else would tell.
void warn_of_other_tokenizer(const TokenData& data, const std::filesystem::path& model);

/// Builds a data folder; destroyed without finish() it leaves nothing behind. (A killed process leaves
/// <folder>.partial, which the next run into the same folder removes.)
class DataWriter {
 public:
  /// Errors: Error where `folder` holds something already.
  DataWriter(const std::filesystem::path& folder, const Tokenizer& tokenizer, uint64_t tokens_per_shard);
  ~DataWriter();

  /// Appends a document of `bytes` bytes of text to one of the splits.
  void add(bool valid, std::span<const int32_t> ids, uint64_t bytes);
  /// Completes the folder; `info` gives seed, valid_fraction and inputs. Returns data.json's content.
  DataInfo finish(DataInfo info);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct BuildDataOptions {
  std::vector<std::filesystem::path> inputs = {};
  std::vector<std::filesystem::path> valid_inputs = {};  ///< if any, all of the validation split
  std::filesystem::path out = {};
  double valid_fraction = 0.01;  ///< of the documents of `inputs`, where there are no valid_inputs
  uint64_t seed = 0;
  uint64_t tokens_per_shard = uint64_t{1} << 27;
};

/// Text to a data folder: reads, tokenizes on all threads, writes. A document is in the validation split when
/// a hash of seed and its position in the corpus falls below valid_fraction. Errors: Error.
DataInfo build_data(const BuildDataOptions& options, const Tokenizer& tokenizer, class Progress& progress);

}  // namespace fathom
