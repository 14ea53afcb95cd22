#pragma once
// What a run trains and is evaluated on: windows of `seq` positions, whatever they were made from.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "text/loader.h"

namespace fathom {

class DataSource {
 public:
  virtual ~DataSource() = default;

  virtual uint64_t windows_per_epoch() const = 0;
  /// Window number `index` of the run, counted from its start over all epochs. Shapes: inputs, targets
  /// (kIgnoredTarget where a position is not scored) (seq); first_key (seq), see AttentionShape, or null
  /// where must_mask() is false.
  virtual void window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key) const = 0;
  virtual uint64_t validation_windows() const = 0;
  virtual void validation_window(uint64_t index, int32_t* inputs, int32_t* targets,
                                 int32_t* first_key) const = 0;

  /// Whether windows hold what must not see one another, so that first_key has to reach the model.
  virtual bool must_mask() const = 0;
  /// Tokens of an epoch, for people and for runs that are told no length.
  virtual uint64_t train_tokens() const = 0;
  /// A hash of all that the run reads: one that is resumed must find the same.
  virtual std::string fingerprint() const = 0;
  /// Ids are below this; and the EOS, for a model whose config names none.
  virtual uint64_t vocab_size() const = 0;
  virtual int32_t eos_id() const = 0;
  /// "5.2M training tokens, 52.1K for validation".
  virtual std::string description() const = 0;
};

/// Token shards in which every token is a target.
class ShardSource final : public DataSource {
 public:
  /// Errors: those of TokenData, TokenLoader and TokenData::verify.
  ShardSource(const std::filesystem::path& folder, size_t seq, uint64_t seed);

  uint64_t windows_per_epoch() const override { return loader_.windows_per_epoch(); }
  void window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key) const override {
    loader_.window(index, inputs, targets, first_key);
  }
  uint64_t validation_windows() const override { return loader_.validation_windows(); }
  void validation_window(uint64_t index, int32_t* inputs, int32_t* targets,
                         int32_t* first_key) const override {
    loader_.validation_window(index, inputs, targets, first_key);
  }
  bool must_mask() const override { return false; }
  uint64_t train_tokens() const override { return data_.train().size(); }
  std::string fingerprint() const override;
  uint64_t vocab_size() const override { return data_.info().vocab_size; }
  int32_t eos_id() const override { return data_.info().eos_id; }
  std::string description() const override;

 private:
  TokenData data_;
  TokenLoader loader_;
};

/// Hash of tokenizer and tokens of both splits, from the shards' own checksums, as 16 hexadecimal digits.
std::string data_fingerprint(const TokenData& data);

}  // namespace fathom
