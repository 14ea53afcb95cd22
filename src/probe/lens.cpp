#include "probe/lens.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "core/threads.h"

namespace fathom {
namespace {

constexpr size_t kChunkRows = 64;  // of logits at a time
constexpr size_t kTop = 5;

template <class S>
double log_sum_exp(const S* z, size_t V) {
  const auto highest = static_cast<double>(*std::max_element(z, z + V));
  double sum = 0;
  for (size_t v = 0; v < V; ++v) sum += std::exp(static_cast<double>(z[v]) - highest);
  return highest + std::log(sum);
}

// The places of the highest logits, highest first; the lower token on a tie. A vocabulary of fewer than five
// fills fewer.
template <class S>
size_t top_tokens(std::array<size_t, kTop>& top, const S* z, size_t V) {
  size_t n = 0;
  for (size_t v = 0; v < V; ++v) {
    if (n == kTop && !(z[v] > z[top[n - 1]])) continue;
    size_t at = n < kTop ? n++ : kTop - 1;
    for (; at > 0 && z[v] > z[top[at - 1]]; --at) top[at] = top[at - 1];
    top[at] = v;
  }
  return n;
}

template <class S>
double top_overlap(const S* lens, const S* final_logits, size_t V) {
  std::array<size_t, kTop> a{}, b{};
  const size_t n = top_tokens(a, lens, V);
  top_tokens(b, final_logits, V);
  size_t shared = 0;
  for (size_t i = 0; i < n; ++i) shared += static_cast<size_t>(std::count(b.begin(), b.begin() + n, a[i]));
  return static_cast<double>(shared) / static_cast<double>(n);
}

// sum p (log p - log q), p and q the softmax of the two rows of logits.
template <class S>
double divergence(const S* lens, double lens_lse, const S* final_logits, double final_lse, size_t V) {
  double sum = 0;
  for (size_t v = 0; v < V; ++v) {
    const double log_p = static_cast<double>(lens[v]) - lens_lse;
    sum += std::exp(log_p) * (log_p - (static_cast<double>(final_logits[v]) - final_lse));
  }
  return sum;
}

}  // namespace

template <class S>
template <class W>
void LogitLens<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch) {
  const size_t rows = batch.rows(), C = model.config().hidden_size, V = model.config().vocab_size;
  const size_t entries = record.num_layers() + 1;
  Buffer<S> lens(std::min(rows, kChunkRows) * V), last(lens.size());
  std::vector<double> losses(entries * rows), kls(entries * rows), tops(entries * rows);
  for (size_t begin = 0; begin < rows; begin += kChunkRows) {
    const size_t n = std::min(kChunkRows, rows - begin);
    model.logits(last.data(), record.stream(entries - 1) + begin * C, n);
    for (size_t l = 0; l < entries; ++l) {
      model.logits(lens.data(), record.stream(l) + begin * C, n);
      parallel_for(n, [&](size_t i) {
        const S *z = lens.data() + i * V, *f = last.data() + i * V;
        const size_t row = begin + i, at = l * rows + row;
        if (!is_scored(batch, row)) return;
        const double lse = log_sum_exp(z, V);
        losses[at] = lse - static_cast<double>(z[batch.targets[row]]);
        kls[at] = divergence(z, lse, f, log_sum_exp(f, V), V);
        tops[at] = top_overlap(z, f, V);
      });
    }
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
                                             const Batch&);
template void LogitLens<float>::add<float>(Transformer<float>&, const StreamRecorder<float>&, const Batch&);
template void LogitLens<float>::add<bf16>(Transformer<bf16>&, const StreamRecorder<float>&, const Batch&);

}  // namespace fathom
