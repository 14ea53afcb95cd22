// fathom prune, called as main() calls it, on a tiny checkpoint as a folder, a run folder and a GGUF file.

#include <algorithm>
#include <filesystem>
#include <list>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/call.h"
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "io/checkpoint.h"
#include "io/gguf_writer.h"
#include "io/rope_permutation.h"
#include "io/safetensors.h"
#include "support/adapter_folder.h"
#include "support/expect_error.h"
#include "support/file_size_limit.h"
#include "support/gguf_metadata.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class PruneCommand : public testing::Test {
 protected:
  void SetUp() override {
    config_ = test::tiny_config(NormType::kPre, 6);
    config_.hidden_size = 32;
    ResidentWeights<float> weights(config_);
    test::randomize(weights, 5);
    fs::create_directories(folder_ / "model");
    save_model(folder_ / "model", config_, weights.list(), weights.values(), DType::kF32);
    write_gguf_of(weights);
    fs::create_directories(folder_ / "run/checkpoints");
    fs::copy(folder_ / "model", folder_ / "run/checkpoints/step-3");
    json ids = json::array();
    Rng rng(8);
    for (size_t s = 0; s < 6; ++s) {
      json sequence = json::array();
      for (size_t i = 0; i < 9; ++i) sequence.push_back(rng.below(config_.vocab_size));
      ids.push_back(sequence);
    }
    write_text_file(folder_ / "ids.json", ids.dump());
    write_text_file(folder_ / "three.json", json(std::vector<json>(ids.begin(), ids.begin() + 3)).dump());
  }

  // With a vocabulary of its own, as a file from elsewhere has.
  void write_gguf_of(ResidentWeights<float>& weights) {
    const auto u32 = [](size_t n) { return gguf_uint32(static_cast<uint32_t>(n)); };
    std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
    std::vector<int32_t> types{2, 3, 3};
    while (tokens.size() < config_.vocab_size) {
      tokens.push_back("t" + std::to_string(tokens.size()));
      types.push_back(1);
    }
    GgufPairs meta = test::gguf_metadata_of(config_);
    meta.insert(meta.end(), {{"tokenizer.ggml.model", gguf_string("llama")},
                             {"tokenizer.ggml.tokens", gguf_strings(tokens)},
                             {"tokenizer.ggml.scores", gguf_float32s(std::vector<float>(tokens.size(), 0))},
                             {"tokenizer.ggml.token_type", gguf_int32s(types)},
                             {"tokenizer.ggml.bos_token_id", u32(1)},
                             {"tokenizer.ggml.eos_token_id", u32(2)},
                             {"tokenizer.ggml.unknown_token_id", u32(0)}});
    std::vector<GgufTensor> tensors;
    std::list<std::vector<float>> permuted;  // q and k lie in another order of rows there
    for (const ParamSpec& spec : weights.list()) {
      const float* values = weights.values(spec);
      if (spec.role == ParamRole::kQ || spec.role == ParamRole::kK) {
        permuted.emplace_back(spec.size());
        permute_qk(permuted.back().data(), values, spec.shape[0], spec.shape[1], config_.head_dim);
        values = permuted.back().data();
      }
      tensors.push_back({spec.gguf_name, spec.shape, values, DType::kF32, StoredType::kF32});
    }
    write_gguf(folder_ / "model.gguf", meta, tensors);
  }

  // Runs `fathom prune` and returns what it wrote with --json.
  json prune(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "prune");
    arguments.insert(arguments.end(), {"--json", at("result.json")});
    printed_ = call(arguments);
    return read_json(folder_ / "result.json");
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  std::string ids() const { return at("ids.json"); }

  ModelConfig config_;
  test::TempFolder folder_;
  std::string printed_;
};

TEST_F(PruneCommand, SweepsBlocksAndSublayers) {
  const json blocks = prune({at("model"), "--sweep", "--block", "2", "--token-ids", ids()});
  ASSERT_EQ(blocks["removed"].size(), 5u);
  EXPECT_EQ(blocks["removed"][4]["layers"], json({5, 6}));
  EXPECT_TRUE(blocks["effective_depth"].is_null());
  const json whole = prune({at("model"), "--sweep", "--token-ids", ids()});
  EXPECT_FALSE(whole["effective_depth"].is_null());
  for (const std::string what : {"attn", "mlp"}) {
    const json part = prune({at("model"), "--sweep", "--what", what, "--token-ids", ids()});
    EXPECT_EQ(part["what"], what);
    EXPECT_EQ(part["removed"].size(), 6u);
    EXPECT_EQ(part["loss"], whole["loss"]);
    EXPECT_NE(part["removed"][2]["loss"], whole["removed"][2]["loss"]);
  }
}

// `fathom compare` reads a run's sweep as one of single layers.
TEST_F(PruneCommand, ARunKeepsTheSweepOfItsLayersAndNoOther) {
  prune({at("run"), "--sweep", "--what", "mlp", "--token-ids", ids()});
  EXPECT_FALSE(fs::exists(folder_ / "run/sweep.json"));
  prune({at("run"), "--sweep", "--token-ids", ids()});
  EXPECT_TRUE(fs::exists(folder_ / "run/sweep.json"));
  // The run may go on: the sweep says what it is of.
  EXPECT_EQ(read_json(folder_ / "run/sweep.json")["checkpoint"], at("run/checkpoints/step-3"));
}

TEST_F(PruneCommand, ChoosesOnOneHalfAndPricesOnTheOther) {
  for (const std::string by : {"loss", "influence", "angular"}) {
    const json result = prune({at("model"), "--auto", "3", "--by", by, "--token-ids", ids()});
    EXPECT_EQ(result["by"], by);
    EXPECT_EQ(result["choosing"], json({{"sequences", 3}, {"tokens", 24}}));
    EXPECT_EQ(result["pricing"], json({{"sequences", 3}, {"tokens", 24}}));
    EXPECT_EQ(result["tokens"], 24);
    EXPECT_EQ(result["dropped"].size(), 3u);
    EXPECT_EQ(result["layers"], 3);
    ASSERT_EQ(result["curve"].size(), 3u);
    EXPECT_EQ(result["curve"][2]["layers"], result["dropped"]);
    EXPECT_EQ(result["removed"][0]["loss"], result["curve"][2]["loss"]);
    EXPECT_TRUE(result["curve"][0]["delta_loss_stderr"].is_number());
    EXPECT_EQ(result.contains("order"), by != "angular");
    // The price is that of --drop on the second half alone.
    const json ids_of = read_json(ids());
    write_text_file(folder_ / "half.json", json(std::vector<json>(ids_of.begin() + 3, ids_of.end())).dump());
    std::string layers;
    for (const json& l : result["dropped"]) layers += (layers.empty() ? "" : ",") + l.dump();
    const json drop = prune({at("model"), "--drop", layers, "--token-ids", at("half.json")});
    EXPECT_NEAR(drop["removed"][0]["delta_loss"].get<double>(),
                result["removed"][0]["delta_loss"].get<double>(), 1e-6);
    EXPECT_NEAR(drop["loss"].get<double>(), result["loss"].get<double>(), 1e-6);
  }
}

// A folder, a run folder and a GGUF file of the same weights are the same model: chosen, priced and written
// alike.
TEST_F(PruneCommand, ChoosesAndWritesFromEveryKindOfModel) {
  json first;
  for (const std::string model : {"model", "run", "model.gguf"}) {
    const std::string out = "pruned-" + model;
    const json result = prune({at(model), "--auto", "2", "--token-ids", ids(), "--out", at(out)});
    if (first.is_null()) first = result;
    EXPECT_EQ(result["dropped"], first["dropped"]) << model;
    EXPECT_EQ(result["out"], at(out));
    EXPECT_EQ(result["rounding"], 0.0);
    const ModelConfig pruned = read_config(folder_ / out);
    EXPECT_EQ(pruned.num_hidden_layers, 4u);
    EXPECT_EQ(json(pruned.norm.layer_index), result["layer_index"]);
    // What was written computes the loss that was named.
    const json again = prune({at(out), "--sweep", "--token-ids", ids()});
    const json priced = prune({at(model), "--drop",
                               std::to_string(first["dropped"][0].get<int>()) + "," +
                                   std::to_string(first["dropped"][1].get<int>()),
                               "--token-ids", ids()});
    EXPECT_NEAR(again["loss"].get<double>(), priced["removed"][0]["loss"].get<double>(), 1e-6) << model;
  }
  EXPECT_TRUE(fs::exists(folder_ / "pruned-model.gguf/tokenizer.json"));
}

TEST_F(PruneCommand, EveryFlagHasItsEffect) {
  const json all = prune({at("model"), "--auto", "2", "--by", "influence", "--token-ids", ids()});
  const std::string kept = all["order"][0].dump();
  const json without =
      prune({at("model"), "--auto", "2", "--by", "influence", "--protect", kept, "--token-ids", ids()});
  EXPECT_EQ(without["protected"][0].dump(), kept);
  for (const json& l : without["dropped"]) EXPECT_NE(l.dump(), kept);
  const json last = prune(
      {at("model"), "--auto", "2", "--by", "angular", "--angular-tokens", "last", "--token-ids", ids()});
  const json tokens = prune({at("model"), "--auto", "2", "--by", "angular", "--token-ids", ids()});
  EXPECT_EQ(last["angular_tokens"], "last");
  EXPECT_NE(last["curve"][1]["score"], tokens["curve"][1]["score"]);
  EXPECT_EQ(last["by_other_tokens"], tokens["dropped"]);

  prune({at("model"), "--drop", "1", "--store", "bf16", "--out", at("half")});
  EXPECT_EQ(SafetensorsFile(folder_ / "half/model.safetensors").at("model.norm.weight").type,
            StoredType::kBf16);
}

TEST_F(PruneCommand, RefusesWhatDoesNotGoTogether) {
  const auto refused = [&](std::vector<std::string> arguments, const char* part) {
    arguments.insert(arguments.begin(), at("model"));
    EXPECT_ERROR(prune(arguments), ErrorCode::kUsage, part);
  };
  refused({"--sweep", "--auto", "2", "--token-ids", ids()}, "one of --sweep, --drop and --auto");
  refused({"--auto", "2", "--drop", "1", "--token-ids", ids()}, "one of --sweep, --drop and --auto");
  refused({"--auto", "2", "--block", "2", "--token-ids", ids()}, "--block goes with --sweep");
  refused({"--drop", "2", "--what", "mlp", "--token-ids", ids()}, "--what goes with --sweep");
  refused({"--sweep", "--by", "loss", "--token-ids", ids()}, "--by goes with --auto");
  refused({"--sweep", "--protect", "1", "--token-ids", ids()}, "--protect goes with --auto");
  refused({"--auto", "2", "--angular-tokens", "last", "--token-ids", ids()}, "--by angular");
  refused({"--sweep", "--out", at("x"), "--token-ids", ids()}, "--out goes with");
  refused({"--drop", "2", "--store", "bf16", "--token-ids", ids()}, "--store goes with --out");
  refused({"--sweep", "--block", "6", "--token-ids", ids()}, "--block 6");
  refused({"--auto", "6", "--token-ids", ids()}, "at least one must stay");
  refused({"--auto", "2", "--protect", "9", "--token-ids", ids()}, "--protect '9'");
  refused({"--auto", "2"}, "--text");
  refused({"--drop", "1-6", "--out", at("x")}, "no layer would be left");
  EXPECT_ERROR(prune({at("model"), "--auto", "2", "--token-ids", at("three.json")}), ErrorCode::kFailed,
               "3 sequences", "too few");
  // Known before the work, not after it.
  EXPECT_ERROR(prune({at("model"), "--auto", "2", "--token-ids", ids(), "--out", at("run")}),
               ErrorCode::kFailed, "exists already");
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

// What stops the writing and is known at the start is said there, not after hours of measuring.
TEST_F(PruneCommand, SaysBeforeTheWorkWhatWillStopTheWriting) {
  test::write_adapter(folder_ / "adapter", folder_ / "model");
  const std::string none = at("no-such-ids.json");  // read when the work begins
  for (const std::vector<std::string>& mode : {std::vector<std::string>{"--drop", "2"}, {"--auto", "2"}}) {
    const auto with = [&](const std::string& model, const std::string& out) {
      std::vector<std::string> arguments{at(model), "--token-ids", none, "--out", out};
      arguments.insert(arguments.end(), mode.begin(), mode.end());
      prune(arguments);
    };
    EXPECT_ERROR(with("adapter", at("x")), ErrorCode::kFailed, "is an adapter", "fathom merge");
    EXPECT_ERROR(with("model", ids() + "/x/y"), ErrorCode::kFailed, "can't be made", "is no folder");
  }
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

// What was measured is kept where the checkpoint can't be.
TEST_F(PruneCommand, WritesItsResultBeforeTheCheckpoint) {
  {
    const test::FileSizeLimit limit(4096);  // a disk with no room for the weights
    EXPECT_ANY_THROW(prune({at("model"), "--drop", "2", "--token-ids", ids(), "--out", at("x")}));
  }
  const json kept = read_json(folder_ / "result.json");
  EXPECT_TRUE(kept["loss"].is_number());
  EXPECT_FALSE(kept.contains("out"));
  EXPECT_FALSE(fs::exists(folder_ / "x"));
}

}  // namespace
}  // namespace fathom::cli
