#pragma once
// Supervised examples as windows: what `fathom finetune` trains on.

#include <filesystem>
#include <string>
#include <vector>

#include "text/sft_loader.h"
#include "train/data_source.h"
#include "train/run_plan.h"

namespace fathom {

/// "a.jsonl,b.jsonl" -> both; a path that exists as it is, is one, whatever commas it has.
std::vector<std::filesystem::path> example_files(const std::string& paths);

class ExampleSource final : public DataSource {
 public:
  /// Reads the files of settings.data, and those of settings.valid_data or a share of the former for
  /// validation. Errors: those of read_sft_examples and SftLoader; Error (usage) where settings.data is a
  /// folder.
  ExampleSource(const TrainSettings& settings, const ExampleInput& input);

  uint64_t windows_per_epoch() const override { return loader_->windows_per_epoch(); }
  void window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key) const override {
    loader_->window(index, inputs, targets, first_key);
  }
  uint64_t validation_windows() const override { return loader_->validation_windows(); }
  void validation_window(uint64_t index, int32_t* inputs, int32_t* targets,
                         int32_t* first_key) const override {
    loader_->validation_window(index, inputs, targets, first_key);
  }
  bool must_mask() const override { return true; }
  uint64_t train_tokens() const override { return train_tokens_; }
  std::string fingerprint() const override;
  uint64_t vocab_size() const override { return vocab_size_; }
  int32_t eos_id() const override { return eos_id_; }
  std::string description() const override { return description_; }

 private:
  std::unique_ptr<const SftLoader> loader_;
  uint64_t train_tokens_ = 0, vocab_size_, tokenizer_fingerprint_;
  int32_t eos_id_;
  std::string description_;
};

}  // namespace fathom
