#include "probe/lens.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/profile.h"
#include "core/threads.h"
#include "kernels/logit_rows.h"

namespace fathom {
namespace {

constexpr size_t kTop = 5;

// What a row of the final logits is compared by, found once for all layers.
struct FinalRow {
  double lse = 0;
  std::array<size_t, kTop> top{};
};

}  // namespace

// The head is packed anew for each product, which costs as much as some 30 rows; 64 MiB of logits keep most
// of a small model's vocabulary at 340 rows and bound a large one's.
size_t lens_rows(size_t V) {
  constexpr size_t kBytes = size_t{64} << 20, kLeast = 96, kMost = 512;
  return std::clamp(kBytes / (V * sizeof(float)), kLeast, kMost);
}

template <class S>
template <class W>
void LogitLens<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch,
                       const std::function<void(size_t)>& after_rows) {
  const size_t rows = batch.rows(), C = model.config().hidden_size, V = model.config().vocab_size;
  const size_t entries = record.num_layers() + 1, chunk = std::min(rows, lens_rows(V));
  Buffer<S> lens(chunk * V), last(chunk * V);
  std::vector<FinalRow> final_rows(chunk);
  std::vector<double> losses(entries * rows), kls(entries * rows), tops(entries * rows);
  for (size_t begin = 0; begin < rows; begin += chunk) {
    const size_t n = std::min(chunk, rows - begin);
    model.logits(last.data(), record.stream(entries - 1) + begin * C, n);
    parallel_for(n, [&](size_t i) {
      final_rows[i].lse = log_sum_exp(last.data() + i * V, V);
      top_places(final_rows[i].top.data(), kTop, last.data() + i * V, V);
    });
    for (size_t l = 0; l < entries; ++l) {
      // The last entry is the model itself, bit for bit.
      const bool is_final = l + 1 == entries;
      if (!is_final) model.logits(lens.data(), record.stream(l) + begin * C, n);
      const S* logits = is_final ? last.data() : lens.data();
      const ProfileScope scope("lens rows");
      parallel_for(n, [&](size_t i) {
        const S *z = logits + i * V, *f = last.data() + i * V;
        const size_t row = begin + i, at = l * rows + row;
        if (!is_scored(batch, row)) return;
        const RowDivergence d = row_divergence(z, f, final_rows[i].lse, V);
        losses[at] = d.lse - static_cast<double>(z[batch.targets[row]]);
        kls[at] = d.kl;
        std::array<size_t, kTop> top{};
        const size_t count = top_places(top.data(), kTop, z, V);
        const auto& others = final_rows[i].top;
        size_t shared = 0;
        for (size_t k = 0; k < count; ++k)
          shared += static_cast<size_t>(std::count(others.begin(), others.begin() + count, top[k]));
        tops[at] = static_cast<double>(shared) / static_cast<double>(count);
      });
    }
    record.drop();
    if (after_rows) after_rows(begin + n);
  }
  for (size_t l = 0; l < entries; ++l) {
    loss[l].add_rows(losses.data() + l * rows, batch);
    kl[l].add_rows(kls.data() + l * rows, batch);
    top5[l].add_rows(tops.data() + l * rows, batch);
  }
}

template class LogitLens<double>;
template class LogitLens<float>;
template void LogitLens<double>::add<double>(Transformer<double>&, const StreamRecorder<double>&,
                                             const Batch&, const std::function<void(size_t)>&);
template void LogitLens<float>::add<float>(Transformer<float>&, const StreamRecorder<float>&, const Batch&,
                                           const std::function<void(size_t)>&);
template void LogitLens<float>::add<bf16>(Transformer<bf16>&, const StreamRecorder<float>&, const Batch&,
                                          const std::function<void(size_t)>&);

}  // namespace fathom
