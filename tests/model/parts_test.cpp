// A batch that goes through the layers in parts, and backward a layer at a time.

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "core/threads.h"
#include "model/transformer.h"
#include "support/family_models.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::TinyBatch;
using test::TinyModel;

// Every tap, before and after, the losses and the logits.
template <class W>
std::vector<double> everything(TinyModel<W>& m, const Batch& batch, size_t rows_at_once) {
  using S = Stream<W>;
  const size_t n = batch.rows() * m.model.config().hidden_size;
  m.model.set_rows_at_once(rows_at_once);
  std::vector<double> all, nll(batch.rows());
  m.model.forward(nll.data(), batch, [&](const Tap<S>& tap) {
    if (tap.before != nullptr) all.insert(all.end(), tap.before, tap.before + n);
    all.insert(all.end(), tap.after, tap.after + n);
  });
  all.insert(all.end(), nll.begin(), nll.end());
  return all;
}

template <class W>
void expect_same_in_parts(const ModelConfig& config, const std::string& name) {
  TinyBatch data(6, 7, config.vocab_size);
  for (size_t i = 0; i < data.tokens.size(); ++i) data.first_key.push_back(i % 7 >= 4 ? 4 : 0);
  TinyModel<W> whole(config);
  const auto expected = everything(whole, data.view(), 0);
  for (const size_t rows : {1u, 7u, 15u, 28u, 1000u}) {
    TinyModel<W> parts(config);
    EXPECT_EQ(everything(parts, data.view(), rows), expected) << name << ", " << rows << " rows at once";
  }
  EXPECT_EQ(everything(whole, data.view(), 14), expected) << name << ", after a whole pass";
}

TEST(Parts, GiveTheBitsOfOneGo) {
  for (const NormType type : test::all_norms()) {
    expect_same_in_parts<float>(test::tiny_config(type), std::string(norm_name(type)));
    expect_same_in_parts<bf16>(test::tiny_config(type), std::string(norm_name(type)));
  }
  for (const auto& family : test::family_models()) expect_same_in_parts<float>(family.config, family.name);
}

// Enough rows that threads take sequences of their own through a layer, and rows of their own through the
// head.
TEST(Parts, OfThreadsGiveTheBitsOfOneGo) {
  ModelConfig config = test::tiny_config(NormType::kSandwich);
  config.max_position_embeddings = 150;
  TinyBatch data(9, 130, config.vocab_size);
  for (size_t i = 0; i < data.tokens.size(); ++i) data.first_key.push_back(i % 130 >= 70 ? 70 : 0);
  TinyModel<bf16> whole(config), packed(config);
  packed.weights.keep_packed(Packing::kForward);
  set_num_threads(1);
  const auto expected = everything(whole, data.view(), 0);
  const TinyBatch short_data(173, 3, config.vocab_size);
  const auto of_short = everything(whole, short_data.view(), 0);
  for (const size_t threads : {2u, 3u}) {
    set_num_threads(threads);
    for (const size_t rows : {400u, 800u, 2000u}) {
      TinyModel<bf16> parts(config);
      EXPECT_EQ(everything(parts, data.view(), rows), expected) << rows << " rows, " << threads << " threads";
    }
    for (const size_t rows : {400u, 800u, 2000u})
      EXPECT_EQ(everything(packed, data.view(), rows), expected) << "packed, " << rows << " rows";
    // Sequences so short that the last piece, were it what is left, would hold a few rows.
    EXPECT_EQ(everything(packed, short_data.view(), 1000), of_short) << "packed, " << threads << " threads";
  }
  set_num_threads(0);
}

// Streams recorded by a forward, then the head and one layer after the other.
TEST(Parts, BackwardLayerByLayerGivesTheWholeGradient) {
  for (const NormType type : test::all_norms()) {
    TinyModel<double> m(test::tiny_config(type));
    const ModelConfig& config = m.model.config();
    const size_t L = config.num_hidden_layers, C = config.hidden_size;
    const TinyBatch data(4, 7, config.vocab_size);
    const Batch batch = data.view();
    const size_t n = batch.rows() * C;
    Gradients<double> whole(config, m.weights.list());
    m.model.forward_backward(batch, whole, 0.25);
    std::vector<std::vector<double>> streams;
    std::vector<double> nll(batch.rows()), dx(n);
    m.model.forward(nll.data(), batch, [&](const Tap<double>& tap) {
      if (tap.point != TapPoint::kAttention) streams.emplace_back(tap.after, tap.after + n);
    });
    for (const size_t rows : {0u, 14u}) {
      m.model.set_rows_at_once(rows);
      std::vector<double> again(batch.rows());
      m.model.head_backward(dx.data(), again.data(), streams[L].data(), batch.targets, batch.rows(), 0.25);
      EXPECT_EQ(again, nll);
      for (size_t l = L; l-- > 0;) {
        const auto specs = layer_parameters(m.weights.list(), l);
        std::vector<double> sums(parameter_count(specs));
        OuterGradients<double> none;
        std::vector<LayerGradients<double>> views;
        bind_views<double, double>(specs, sums.data(), sums.data(), 1, false, none, views);
        m.model.layer_backward(l, dx.data(), streams[l].data(), batch, views[0]);
        size_t offset = 0;
        for (const ParamSpec& spec : m.weights.list()) {
          if (spec.layer != static_cast<int>(l)) continue;
          for (size_t i = 0; i < spec.size(); ++i)
            ASSERT_NEAR(sums[offset + i], whole.values()[spec.offset + i], 1e-11)
                << norm_name(type) << " " << spec.name;
          offset += spec.size();
        }
      }
    }
  }
}

}  // namespace
}  // namespace fathom
