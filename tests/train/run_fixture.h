#pragma once
// A tiny model, tiny data that can be learned, and runs on them.

#include <atomic>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "io/checkpoint.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "text/dataset.h"
#include "train/train.h"

namespace fathom::test {

/// Vocabulary of a tokenizer without pieces: special tokens and bytes.
inline constexpr size_t kTinyVocab = 259;

/// A data folder of documents whose next token mostly follows from the last one.
inline void make_data(const std::filesystem::path& folder, uint64_t train_documents = 40,
                      uint64_t valid_documents = 6, uint64_t seed = 1) {
  DataWriter writer(folder, Tokenizer(std::vector<std::string>{}), 4000);
  Rng rng(seed);
  for (uint64_t d = 0; d < train_documents + valid_documents; ++d) {
    std::vector<int32_t> ids;
    auto id = static_cast<int32_t>(3 + rng.below(32));
    for (size_t i = 0; i < 100; ++i) {
      ids.push_back(id);
      id = rng.below(10) == 0 ? static_cast<int32_t>(3 + rng.below(32)) : 3 + (id * 5 + 7) % 32;
    }
    writer.add(d >= train_documents, ids, ids.size());
  }
  writer.finish({});
}

inline nlohmann::json tiny_model_json() {
  return {{"model_type", "llama"},     {"hidden_size", 16},          {"intermediate_size", 24},
          {"num_hidden_layers", 4},    {"num_attention_heads", 2},   {"num_key_value_heads", 1},
          {"vocab_size", kTinyVocab},  {"rms_norm_eps", 1e-6},       {"max_position_embeddings", 64},
          {"initializer_range", 0.08}, {"tie_word_embeddings", true}};
}

/// Sets `stop` after a step, as a signal would.
class StopAfter final : public Progress {
 public:
  explicit StopAfter(uint64_t step) : step_(step) {}
  void begin(const std::string&, uint64_t, const std::string&) override {}
  // Called when a step is done: the next one will see the flag.
  void update(uint64_t done, const std::string&) override {
    if (done + 1 >= step_) stop = true;
  }
  void end(const std::string&) override {}
  std::atomic<bool> stop{false};

 private:
  uint64_t step_;
};

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    make_data(folder_ / "data");
    write_model(tiny_model_json());
  }

  std::filesystem::path at(const std::string& name) const { return folder_ / name; }
  void write_model(const nlohmann::json& json) const { write_text_file(at("model.json"), json.dump()); }

  /// Eight steps of 4 x 16 tokens, evaluated and saved at the end only.
  TrainSettings settings(const std::string& out) const {
    TrainSettings s;
    s.model = at("model.json").string();
    s.data = at("data").string();
    s.out = at(out).string();
    s.norm = "lns";
    s.dtype = "fp32";
    s.steps = 8;
    s.batch = 4;
    s.seq = 16;
    s.lr = 5e-3;
    s.warmup = 1;
    s.eval_tokens = 64;
    s.eval_every = s.save_every = s.probe_every = 0;
    s.mfu_peak_tflops = 1;  // not measured: that would take longer than the run
    return s;
  }

  static TrainResult run(const TrainSettings& s) {
    NoProgress progress;
    return train(s, progress);
  }
  static TrainResult run_until(const TrainSettings& s, uint64_t step) {
    StopAfter progress(step);
    return train(s, progress, &progress.stop);
  }
  static TrainSettings resumed(TrainSettings s) {
    s.resume = true;
    return s;
  }

  static std::string bytes_of(const std::filesystem::path& path) { return read_text_file(path); }
  /// Bytes of weights, masters and moments of the last checkpoint.
  static std::string final_state(const TrainSettings& s) {
    const std::filesystem::path last = resolve_model(s.out);
    return bytes_of(last / "model.safetensors") + bytes_of(last / "state.safetensors");
  }
  static std::vector<nlohmann::json> metrics(const TrainSettings& s) {
    std::vector<nlohmann::json> lines;
    const std::string text = read_text_file(std::filesystem::path(s.out) / "metrics.jsonl");
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = text.find('\n', begin);
      lines.push_back(parse_json(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    return lines;
  }

  TempFolder folder_;
};

}  // namespace fathom::test
