// fathom bench attention: causal attention, forward and backward, checked and then timed, as fractions of the
// peak measured in the same run.

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/model_loading.h"
#include "core/buffer.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/threads.h"
#include "kernels/attention.h"
#include "kernels/isa.h"

namespace fathom::cli {
namespace {

using nlohmann::json;

struct Settings {
  std::vector<size_t> head_sizes{32, 64, 128}, seqs{256, 1024};
  size_t heads = 12, kv_heads = 0, rows = 4096;
  std::string dtype = "bf16";
};

// One attention problem and its results; q, k and v stand side by side in rows, as the model's joint
// projection leaves them.
template <class W>
class Problem {
 public:
  Problem(const Settings& s, size_t T, size_t HS)
      : B_(std::max<size_t>(1, s.rows / T)),
        stride_((s.heads + 2 * s.kv_heads) * HS),
        shape_{B_, T, T, s.heads, s.kv_heads, HS, stride_, stride_, T * stride_},
        qkv_(B_ * T * stride_),
        dqkv_(qkv_.size()),
        out_(B_ * T * s.heads * HS),
        dout_(out_.size()),
        lse_(B_ * s.heads * T) {
    fill(qkv_, 1);
    fill(dout_, 2);
  }

  void forward() { attention_forward<W>(out_.data(), lse_.data(), q(qkv_), k(qkv_), v(qkv_), shape_); }
  void backward() {
    attention_backward<W>(q(dqkv_), k(dqkv_), v(dqkv_), dout_.data(), out_.data(), lse_.data(), q(qkv_),
                          k(qkv_), v(qkv_), shape_);
  }
  void check();

  double tokens() const { return static_cast<double>(B_ * shape_.Tq); }
  /// Of one product of scores: queries x keys x head size, half of the square.
  double product_flop() const {
    const auto T = static_cast<double>(shape_.Tq);
    return static_cast<double>(B_ * shape_.NH * shape_.HS) * T * T;
  }

 private:
  static void fill(Buffer<W>& values, uint64_t seed) {
    constexpr size_t kGrain = 4096;
    parallel_ranges(values.size(), kGrain, [&](size_t begin, size_t end) {
      Rng rng(seed, begin);
      for (size_t i = begin; i < end; ++i) values[i] = W(static_cast<float>(rng.normal()));
    });
  }
  W* q(Buffer<W>& qkv) const { return qkv.data(); }
  W* k(Buffer<W>& qkv) const { return qkv.data() + shape_.NH * shape_.HS; }
  W* v(Buffer<W>& qkv) const { return k(qkv) + shape_.NKV * shape_.HS; }

  // Element i of a dense (T, NH HS) block of the last sequence that belongs to query head h of the last
  // group.
  std::vector<W> heads_of(const Buffer<W>& dense, size_t first_head, size_t heads) const {
    std::vector<W> part;
    const size_t row = shape_.NH * shape_.HS, T = shape_.Tq;
    for (size_t t = 0; t < T; ++t) {
      const W* from = dense.data() + ((B_ - 1) * T + t) * row + first_head * shape_.HS;
      part.insert(part.end(), from, from + heads * shape_.HS);
    }
    return part;
  }

  size_t B_, stride_;
  AttentionShape shape_;
  Buffer<W> qkv_, dqkv_, out_, dout_;
  Buffer<float> lse_;
};

// |actual - expected| <= relative |expected| + absolute, NaN failing.
template <class W>
void hold(const std::string& what, W actual, W expected, double relative, double absolute) {
  const auto a = static_cast<double>(actual), e = static_cast<double>(expected);
  if (std::fabs(a - e) <= relative * std::fabs(e) + absolute) return;
  fail(fmt::format("attention {}: {} instead of {}", what, a, e),
       "the kernels are wrong on this machine; run fathom selftest and report it");
}

// Holds the last group of heads of the last sequence to the reference. Tolerances:
// tests/kernels/attention_test.cpp.
template <class W>
void Problem<W>::check() {
  forward();
  backward();
  const size_t T = shape_.Tq, HS = shape_.HS, group = shape_.NH / shape_.NKV, head = shape_.NH - group;
  const size_t first_row = (B_ - 1) * T * stride_, kv = (shape_.NKV - 1) * HS;
  AttentionShape one = shape_;
  one.B = 1;
  one.NH = group;
  one.NKV = 1;
  const W* q_one = q(qkv_) + first_row + head * HS;
  const W* k_one = k(qkv_) + first_row + kv;
  const W* v_one = v(qkv_) + first_row + kv;
  const auto out = heads_of(out_, head, group), dout = heads_of(dout_, head, group);
  std::vector<W> expected(out.size()), gradient(dqkv_.size() / B_);
  std::vector<float> lse(group * T);
  attention_forward_ref<W>(expected.data(), lse.data(), q_one, k_one, v_one, one);
  const bool is_bf16 = std::is_same_v<W, bf16>;
  const double step = is_bf16 ? 0x1p-7 : 0.0, score = 16 * static_cast<double>(HS + 4) * 0x1p-24;
  for (size_t i = 0; i < out.size(); ++i)
    hold("forward", out[i], expected[i], step, 6 * score + (is_bf16 ? 0x1p-7 : 0.0));

  W* dq = gradient.data() + head * HS;
  W* dk = gradient.data() + shape_.NH * HS + kv;
  W* dv = dk + shape_.NKV * HS;
  attention_backward_ref<W>(dq, dk, dv, dout.data(), expected.data(), lse.data(), q_one, k_one, v_one, one);
  double largest = 1;
  for (const W& g : gradient) largest = std::max(largest, std::fabs(static_cast<double>(g)));
  const double absolute =
      is_bf16 ? 0x1p-8 * (2 + largest) : 8 * score * (static_cast<double>(group) + largest);
  const auto hold_columns = [&](size_t column, size_t columns) {
    for (size_t t = 0; t < T; ++t) {
      for (size_t i = column; i < column + columns; ++i)
        hold("backward", dqkv_[first_row + t * stride_ + i], gradient[t * stride_ + i], step, absolute);
    }
  };
  hold_columns(head * HS, group * HS);
  hold_columns(shape_.NH * HS + kv, HS);
  hold_columns((shape_.NH + shape_.NKV) * HS + kv, HS);
}

template <class W>
void measure(json& results, const Settings& s, size_t T, size_t HS, double& peak) {
  Problem<W> problem(s, T, HS);
  problem.check();
  const auto add = [&](const char* pass, int products, const std::function<void()>& fn) {
    peak = std::max(peak, peak_flops(dtype_of<W>(), num_threads(), 5));
    json r = rate_of(fmt::format("attention {} HS {} T {}", pass, HS, T), time_calls(fn),
                     products * problem.product_flop(), problem.tokens());
    r.update({{"head_size", HS}, {"seq", T}});
    results.push_back(r);
  };
  // Forward: q k^T and p v. Backward: those that the gradients need, dp = dout v^T, dq, dk, dv, and q k^T
  // again.
  add("forward", 2, [&] { problem.forward(); });
  add("backward", 5, [&] { problem.backward(); });
}

void run(const Common& common, Settings s) {
  apply(common);
  if (s.kv_heads == 0) s.kv_heads = s.heads;
  if (s.heads % s.kv_heads != 0)
    usage_error(fmt::format("--heads {} is no multiple of --kv-heads {}", s.heads, s.kv_heads));
  for (size_t HS : s.head_sizes) {
    if (HS % 8 != 0) usage_error(fmt::format("--head-sizes {}: must be a multiple of 8", HS));
  }
  const DType dtype = parse_dtype(s.dtype);
  double peak = peak_flops(dtype, num_threads());
  json result = bench_result(peak);
  result["dtype"] = s.dtype;
  const std::unique_ptr<Progress> progress = make_progress();
  progress->begin("bench attention", s.head_sizes.size() * s.seqs.size(), "sizes");
  size_t done = 0;
  for (size_t HS : s.head_sizes) {
    for (size_t T : s.seqs) {
      with_dtype(dtype, [&]<class W>() { measure<W>(result["results"], s, T, HS, peak); });
      progress->update(++done, fmt::format("HS {} T {}", HS, T));
    }
  }
  progress->end();
  report_rates(result, peak, s.dtype + " on " + std::string(isa_name(active_isa())),
               [](const json& r) { return r["name"].get<std::string>(); });
  write_result(common, result);
}

}  // namespace

void add_bench_attention(Command bench) {
  auto common = std::make_shared<Common>();
  auto s = std::make_shared<Settings>();
  Command c =
      add_command(bench, "attention", "Causal attention, forward and backward (recomputing the scores)",
                  "fathom bench attention --head-sizes 64 --seq 1024", common);
  c.option("--head-sizes", s->head_sizes, "Head sizes, multiples of 8")
      .comma_list()
      .range(8, 256)
      .shows_default();
  c.option("--seq", s->seqs, "Tokens a sequence").comma_list().range(1, 1 << 17).shows_default();
  c.option("--heads", s->heads, "Query heads").range(1, 256).shows_default();
  c.option("--kv-heads", s->kv_heads, "Key/value heads (default: as many)").range(1, 256);
  c.option("--rows", s->rows, "Tokens in all; at least one sequence runs").range(1, 1 << 20).shows_default();
  c.option("--dtype", s->dtype, "bf16 or fp32").shows_default();
  c.runs([common, s] { run(*common, *s); });
}

}  // namespace fathom::cli
