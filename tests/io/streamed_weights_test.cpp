// A model that is read as it runs computes, bit for bit, what the same model in memory computes.

#include "io/streamed_weights.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "io/checkpoint.h"
#include "model/tiny_model.h"
#include "support/expect_error.h"
#include "support/streamed.h"
#include "support/temp_folder.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using test::expect_same_when_streamed;
using test::TempFolder;

const fs::path kFamilies = fs::path(FATHOM_TEST_DATA) / "parity" / "families";

class StreamedFamily : public testing::TestWithParam<std::string> {};

TEST_P(StreamedFamily, EqualsTheResidentModelBitForBit) {
  const fs::path folder = kFamilies / GetParam();
  const auto file = read_json(folder / "expected.json");
  std::vector<int32_t> tokens;
  for (const auto& sequence : file["tokens"]) {
    for (const auto& t : sequence) tokens.push_back(t.get<int32_t>());
  }
  const Batch batch{file["tokens"].size(), file["tokens"][0].size(), tokens.data(), nullptr, nullptr};
  const ModelConfig config = read_config(folder);
  expect_same_when_streamed<float>(folder, config, batch);
  expect_same_when_streamed<bf16>(folder, config, batch);
  expect_same_when_streamed<double>(folder, config, batch);
}

INSTANTIATE_TEST_SUITE_P(Families, StreamedFamily, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& entry : fs::directory_iterator(kFamilies))
                             names.push_back(entry.path().filename().string());
                           std::sort(names.begin(), names.end());
                           return names;
                         }()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class StreamedWeightsOf : public testing::Test {
 protected:
  void SetUp() override {
    config_ = tiny_config(NormType::kPre);
    ResidentWeights<float> weights(config_);
    randomize(weights, 5);
    save(weights);
  }
  void save(const ResidentWeights<float>& weights) {
    save_model(folder_.path(), config_, weights.list(), weights.values(), DType::kF32);
  }
  ResidentWeights<float> load() {
    ResidentWeights<float> weights(config_);
    load_weights(weights, folder_.path());
    return weights;
  }

  ModelConfig config_;
  TempFolder folder_;
};

TEST_F(StreamedWeightsOf, ReadEachLayerOnceAPass) {
  const TinyBatch data(2, 7, config_.vocab_size);
  const size_t layer = StreamedWeights<float>::layer_bytes(config_);
  const size_t head = StreamedWeights<float>::head_bytes(config_);
  const auto reads = [&](size_t memory) {
    StreamedWeights<float> weights(folder_.path(), config_, memory);
    Transformer<float> model(config_, weights);
    model.set_rows_at_once(7);  // in two parts: the weights are asked for once all the same
    std::vector<double> nll(14);
    for (int pass = 0; pass < 3; ++pass) model.forward(nll.data(), data.view());
    return std::pair{weights.layers_kept(), weights.layers_read()};
  };
  EXPECT_EQ(reads(0), (std::pair<size_t, size_t>{0, 12}));
  EXPECT_EQ(reads(head + 2 * layer), (std::pair<size_t, size_t>{0, 12}));
  EXPECT_EQ(reads(head + 3 * layer), (std::pair<size_t, size_t>{1, 10}));
  EXPECT_EQ(reads(head + 4 * layer), (std::pair<size_t, size_t>{4, 4}));
}

TEST_F(StreamedWeightsOf, BoundTheirMemory) {
  const size_t layer = StreamedWeights<float>::layer_bytes(config_);
  const size_t head = StreamedWeights<float>::head_bytes(config_);
  const auto planned = [&](size_t memory) {
    return StreamedWeights<float>(folder_.path(), config_, memory).planned_bytes();
  };
  EXPECT_EQ(planned(0), std::max(head, 2 * layer));
  EXPECT_EQ(planned(head + 2 * layer), head + 2 * layer);
  EXPECT_EQ(planned(head + 3 * layer), head + 3 * layer);
  EXPECT_EQ(planned(size_t{1} << 40), head + 4 * layer);
  EXPECT_LT(StreamedWeights<bf16>::layer_bytes(config_), layer * 3 / 5);
}

TEST_F(StreamedWeightsOf, ArePackedWhereTheModelFitsTwice) {
  const size_t whole = StreamedWeights<bf16>::whole_bytes(config_);
  const size_t packed = StreamedWeights<bf16>::packed_bytes(config_);
  EXPECT_EQ(packed > 0, reads_packed_matrices(DType::kBf16));
  EXPECT_EQ(StreamedWeights<float>::packed_bytes(config_), 0u);
  // Both hold the model once, also where nothing is packed.
  for (const size_t memory : {whole + packed, whole + std::max<size_t>(packed, 1) - 1}) {
    StreamedWeights<bf16> weights(folder_.path(), config_, memory);
    weights.keep_packed(memory);
    const bool packs = packed > 0 && memory == whole + packed;
    EXPECT_EQ(weights.planned_bytes(), whole + (packs ? packed : 0));
    EXPECT_EQ(weights.layer(1).packed.gate_up.forward != nullptr, packs);
    EXPECT_EQ(weights.packed_head().forward != nullptr, packs);
  }
}

TEST_F(StreamedWeightsOf, FailInOneLineWhereALayerIsDamaged) {
  ResidentWeights<float> weights = load();
  for (const ParamSpec& spec : weights.list()) {
    if (spec.name == "model.layers.2.mlp.up_proj.weight")
      weights.values(spec)[3] = std::numeric_limits<float>::quiet_NaN();
  }
  save(weights);
  const TinyBatch data(2, 7, config_.vocab_size);
  StreamedWeights<float> streamed(folder_.path(), config_, 0);  // the header is sound
  Transformer<float> model(config_, streamed);
  std::vector<double> nll(14);
  for (int time = 0; time < 2; ++time) {
    EXPECT_ERROR(model.forward(nll.data(), data.view()), ErrorCode::kFailed, "model.safetensors",
                 "'model.layers.2.mlp.up_proj.weight'", "element 3 of", "not finite");
  }
  EXPECT_ERROR(load(), ErrorCode::kFailed, "'model.layers.2.mlp.up_proj.weight'", "not finite");
}

TEST_F(StreamedWeightsOf, FailBeforeAnyWorkWhereATensorIsMissingOrOfAnotherShape) {
  ModelConfig wider = config_;
  wider.intermediate_size = 32;
  EXPECT_ERROR(StreamedWeights<float>(folder_.path(), wider, 0), ErrorCode::kFailed, "gate_proj", "[20, 24]",
               "[32, 24]");
  ModelConfig deeper = config_;
  deeper.num_hidden_layers = 5;
  EXPECT_ERROR(StreamedWeights<float>(folder_.path(), deeper, 0), ErrorCode::kFailed, "model.layers.4.",
               "missing");
  ModelConfig shallower = config_;
  shallower.num_hidden_layers = 3;
  EXPECT_ERROR(StreamedWeights<float>(folder_.path(), shallower, 0), ErrorCode::kFailed, "model.layers.3.",
               "not part of the model");
}

}  // namespace
}  // namespace fathom
