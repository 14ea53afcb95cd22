#pragma once
// A streamed model against the same model in memory.

#include <cstring>
#include <filesystem>
#include <vector>

#include <gtest/gtest.h>

#include "io/checkpoint.h"
#include "io/streamed_weights.h"

namespace fathom::test {

/// The taps of a pass one after the other, and behind them the logits.
template <class W>
std::vector<Stream<W>> taps_and_logits(Transformer<W>& model, const Batch& batch) {
  using S = Stream<W>;
  const ModelConfig& c = model.config();
  const size_t n = batch.rows() * c.hidden_size;
  std::vector<S> all, x(n), logits(batch.rows() * c.vocab_size);
  const auto watch = [&](const Tap<S>& tap) { all.insert(all.end(), tap.after, tap.after + n); };
  model.embed(x.data(), batch, watch);
  model.run(x.data(), whole_program<S>(c.num_hidden_layers), batch, watch);
  model.logits(logits.data(), x.data(), batch.rows());
  all.insert(all.end(), logits.begin(), logits.end());
  return all;
}

/// Streams the model under memory for nothing but what it must hold, for some of the layers and for all, and
/// expects the bits of ResidentWeights, twice in a row.
template <class W>
void expect_same_when_streamed(const std::filesystem::path& path, const ModelConfig& config,
                               const Batch& batch) {
  ResidentWeights<W> resident(config);
  load_weights(resident, path);
  Transformer<W> model(config, resident);
  const auto expected = taps_and_logits(model, batch);
  const size_t layer = StreamedWeights<W>::layer_bytes(config);
  for (const size_t memory :
       {size_t{0}, StreamedWeights<W>::head_bytes(config) + 3 * layer, size_t{1} << 40}) {
    StreamedWeights<W> streamed(path, config, memory);
    streamed.keep_packed(memory);
    Transformer<W> other(config, streamed);
    for (int time = 0; time < 2; ++time) {
      const auto got = taps_and_logits(other, batch);
      ASSERT_EQ(got.size(), expected.size());
      EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(Stream<W>)), 0)
          << dtype_name(dtype_of<W>()) << ", memory " << memory << ", time " << time;
    }
  }
}

}  // namespace fathom::test
