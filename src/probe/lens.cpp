#include "probe/lens.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <vector>

#include "core/profile.h"
#include "core/workers.h"
#include "kernels/logit_rows.h"

namespace fathom {
namespace {

constexpr size_t kTop = 5;

size_t parts_of(size_t n, size_t part) { return (n + part - 1) / part; }

// What a row of the final logits is compared by, found once for all layers.
struct FinalRow {
  double lse = 0;
  std::array<size_t, kTop> top{};
};

// What a block of rows needs: logits of a layer and of the model, and what is known of the latter.
template <class S>
struct Room {
  Room(size_t rows, size_t V) : lens(rows * V), last(rows * V), final_rows(rows) {}
  Buffer<S> lens, last;
  std::vector<FinalRow> final_rows;
};

// Of each entry and row.
struct LensValues {
  LensValues(size_t entries, size_t rows) : loss(entries * rows), kl(entries * rows), top(entries * rows) {}
  std::vector<double> loss, kl, top;
};

template <class W>
void compare_rows(LensValues& values, Transformer<W>& model, const StreamRecorder<Stream<W>>& record,
                  const Batch& batch, size_t begin, size_t n, Room<Stream<W>>& room) {
  using S = Stream<W>;
  const size_t C = model.config().hidden_size, V = model.config().vocab_size;
  const size_t entries = record.num_layers() + 1;
  S *lens = room.lens.data(), *last = room.last.data();
  model.logits(last, record.stream(entries - 1) + begin * C, n);
  parallel_for(n, [&](size_t i) {
    room.final_rows[i].lse = log_sum_exp(last + i * V, V);
    top_places(room.final_rows[i].top.data(), kTop, last + i * V, V);
  });
  for (size_t l = 0; l < entries; ++l) {
    // The last entry is the model itself, bit for bit.
    const bool is_final = l + 1 == entries;
    if (!is_final) model.logits(lens, record.stream(l) + begin * C, n);
    const S* logits = is_final ? last : lens;
    const ProfileScope scope("lens rows");
    parallel_for(n, [&](size_t i) {
      const S *z = logits + i * V, *f = last + i * V;
      const FinalRow& final_row = room.final_rows[i];
      const size_t row = begin + i, at = l * batch.rows() + row;
      if (!is_scored(batch, row)) return;
      const RowDivergence d = row_divergence(z, f, final_row.lse, V);
      values.loss[at] = d.lse - static_cast<double>(z[batch.targets[row]]);
      values.kl[at] = d.kl;
      std::array<size_t, kTop> top{};
      const size_t count = top_places(top.data(), kTop, z, V);
      const auto& others = final_row.top;
      size_t shared = 0;
      for (size_t k = 0; k < count; ++k)
        shared += static_cast<size_t>(std::count(others.begin(), others.begin() + count, top[k]));
      values.top[at] = static_cast<double>(shared) / static_cast<double>(count);
    });
  }
}

}  // namespace

// The head is read, and where it is not packed already packed, for each product, which costs as much as some
// 30 rows; 128 MiB of logits keep most of a small model's vocabulary at 680 rows and bound a large one's.
size_t lens_rows(size_t V) {
  constexpr size_t kBytes = size_t{128} << 20, kLeast = 96, kMost = 1024;
  return std::clamp(kBytes / (V * sizeof(float)), kLeast, kMost);
}

template <class S>
template <class W>
void LogitLens<S>::add(Transformer<W>& model, const StreamRecorder<S>& record, const Batch& batch,
                       const std::function<void(size_t)>& after_rows) {
  const size_t rows = batch.rows(), V = model.config().vocab_size, at_once = std::min(rows, lens_rows(V));
  const size_t entries = record.num_layers() + 1;
  LensValues values(entries, rows);
  std::mutex reporting;
  size_t done = 0;
  const auto report = [&](size_t n) {
    const std::lock_guard lock(reporting);
    record.drop();
    done += n;
    if (after_rows) after_rows(done);
  };
  // A thread takes rows of its own where enough are left to each for the products to be fast: it waits for
  // nobody, and looks at the logits that it has made itself.
  constexpr size_t kFewestRows = 128;
  const size_t a_thread = at_once / num_threads();
  const bool by_threads = num_threads() > 1 && a_thread >= kFewestRows;
  const size_t pieces = parts_of(rows, by_threads ? a_thread : at_once);
  const auto begin = [&](size_t piece) { return rows * piece / pieces; };  // of like sizes
  const auto compare = [&](size_t piece, Room<S>& room) {
    compare_rows<W>(values, model, record, batch, begin(piece), begin(piece + 1) - begin(piece), room);
    report(begin(piece + 1) - begin(piece));
  };
  std::vector<Room<S>> rooms;
  for (size_t i = 0; i < (by_threads ? num_threads() : 1); ++i) rooms.emplace_back(parts_of(rows, pieces), V);
  if (by_threads) {
    S* none = nullptr;
    model.logits(none, record.stream(0), 0);  // the head is in memory from here on, for all threads
    share_among_workers(pieces, [&](size_t worker, size_t piece) { compare(piece, rooms[worker]); });
  } else {
    for (size_t piece = 0; piece < pieces; ++piece) compare(piece, rooms[0]);
  }
  for (size_t l = 0; l < entries; ++l) {
    loss[l].add_rows(values.loss.data() + l * rows, batch);
    kl[l].add_rows(values.kl.data() + l * rows, batch);
    top5[l].add_rows(values.top.data() + l * rows, batch);
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
