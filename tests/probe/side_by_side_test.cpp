// What runs side by side, pairs of layers in one batch or rows by threads, gives the bits of one by one.

#include <numeric>

#include <gtest/gtest.h>

#include "core/threads.h"
#include "probe/interventions.h"
#include "probe/lens.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::tiny_config;
using test::TinyBatch;
using test::TinyModel;

class SideBySide : public testing::Test {
 protected:
  ~SideBySide() override { set_num_threads(0); }
};

TEST_F(SideBySide, SwapsGiveTheBitsOfEachByItselfFromAnyPairOn) {
  TinyModel<bf16> m(tiny_config(NormType::kLns, 5));
  const TinyBatch data(2, 9, 37);
  const Batch batch = data.view();
  StreamRecorder<float> record(5);
  std::vector<double> nll(batch.rows());
  m.model.forward(nll.data(), batch, observer_of<float>({&record}, batch, 24));
  LayerPermutation<float> one(5);
  size_t calls = 0;
  one.add(m.model, record, nll.data(), batch, 0, [&](size_t pair) { EXPECT_EQ(pair, calls++); });
  EXPECT_EQ(calls, 10u);
  for (const size_t pairs : {2u, 3u, 100u}) {
    for (const size_t first : {0u, 1u, 5u, 9u}) {
      LayerPermutation<float> many(5);
      size_t last = 0;
      many.add(
          m.model, record, nll.data(), batch, pairs * batch.rows(), [&](size_t pair) { last = pair; }, first);
      EXPECT_EQ(last, 9u);
      size_t pair = 0;
      for (size_t i = 0; i < 5; ++i) {
        for (size_t j = i + 1; j < 5; ++j, ++pair) {
          if (pair < first)
            EXPECT_EQ(many.relative_change[i][j].sequences(), 0u);
          else
            EXPECT_EQ(many.score(i, j), one.score(i, j)) << i << " and " << j << ", from " << first;
        }
      }
    }
  }
}

// Of more rows than a thread takes, so that two threads look at them by themselves.
TEST_F(SideBySide, LensRowsGiveTheBitsOfOneThread) {
  const size_t sequences = 30, T = 41;
  const TinyBatch data(sequences, T, 37);
  const Batch batch = data.view();
  const auto values = [&](size_t threads) {
    set_num_threads(threads);
    TinyModel<bf16> m(tiny_config(NormType::kPre));
    StreamRecorder<float> record(4);
    std::vector<double> nll(batch.rows());
    m.model.forward(nll.data(), batch, observer_of<float>({&record}, batch, 24));
    LogitLens<float> lens(4);
    size_t done = 0;
    lens.add(m.model, record, batch, [&](size_t rows) {
      EXPECT_GT(rows, done);
      done = rows;
    });
    EXPECT_EQ(done, batch.rows());
    std::vector<double> all;
    for (const auto* means : {&lens.loss, &lens.kl, &lens.top5}) {
      for (const SequenceMean& mean : *means) all.insert(all.end(), {mean.mean(), mean.standard_error()});
    }
    return all;
  };
  const std::vector<double> one = values(1);
  EXPECT_EQ(values(2), one);
  EXPECT_EQ(values(3), one);
}

}  // namespace
}  // namespace fathom
