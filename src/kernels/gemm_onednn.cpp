// bf16 products through oneDNN, to compare with, and for the processor on which ours would fail. Each thread
// of our pool runs oneDNN alone on fixed slices of C, so that K is never split and the bits do not depend on
// the threads.

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>

#include "core/error.h"
#include "core/threads.h"
#include "kernels/gemm_blocks.h"

namespace fathom::gemm_detail {
namespace {

using dnnl::memory;

// Slices wanted, so that 2 to 16 threads share them evenly, and their least size: each slice packs its B
// anew, a cost of 1 / rows of the product's.
constexpr size_t kWantedSlices = 16;
constexpr size_t kSliceRows = 128, kSliceColumns = 128;
constexpr size_t kMaxSliceRows = 1024;
// Numbers a chunk of the conversion to bf16: some microseconds.
constexpr size_t kConvertGrain = 32768;
// Shapes kept by each thread. A training step has some twenty.
constexpr size_t kMaxPrimitives = 256;

// What tells one primitive from another: sizes, leading dimensions, transposes, C's type, the scale of the
// sum.
struct Shape {
  size_t M, N, K, a_ld, b_ld, c_ld;
  bool a_transposed, b_transposed;
  DType c;
  float sum_scale;  // c = ab + sum_scale * c; 0: c = ab

  auto key() const {
    return std::make_tuple(M, N, K, a_ld, b_ld, c_ld, a_transposed, b_transposed, c, sum_scale);
  }
  bool operator<(const Shape& other) const { return key() < other.key(); }
};

const dnnl::engine& engine() {
  static const dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}

memory::desc matrix(size_t rows, size_t cols, memory::data_type type, size_t ld, bool transposed) {
  const auto dim = [](size_t n) { return static_cast<memory::dim>(n); };
  const memory::dims strides = transposed ? memory::dims{1, dim(ld)} : memory::dims{dim(ld), 1};
  return {{dim(rows), dim(cols)}, type, strides};
}

// A product of one shape and the handles of its operands.
class Primitive {
 public:
  explicit Primitive(const Shape& s) {
    dnnl::primitive_attr attributes;
    if (s.sum_scale != 0.0f) {
      dnnl::post_ops post;
      post.append_sum(s.sum_scale);
      attributes.set_post_ops(post);
    }
    const auto c_type = s.c == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
    const dnnl::matmul::desc desc(matrix(s.M, s.K, memory::data_type::bf16, s.a_ld, s.a_transposed),
                                  matrix(s.K, s.N, memory::data_type::bf16, s.b_ld, s.b_transposed),
                                  matrix(s.M, s.N, c_type, s.c_ld, false));
    const dnnl::matmul::primitive_desc primitive(desc, attributes, engine());
    matmul_ = dnnl::matmul(primitive);
    a_ = memory(primitive.src_desc(), engine(), nullptr);
    b_ = memory(primitive.weights_desc(), engine(), nullptr);
    c_ = memory(primitive.dst_desc(), engine(), nullptr);
  }

  void run(dnnl::stream& stream, const void* a, const void* b, void* c) {
    a_.set_data_handle(const_cast<void*>(a));
    b_.set_data_handle(const_cast<void*>(b));
    c_.set_data_handle(c);
    matmul_.execute(stream, {{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}});
    stream.wait();
  }

 private:
  dnnl::matmul matmul_;
  memory a_, b_, c_;
};

// oneDNN as one thread uses it. A primitive has scratch of its own and so may not run on two threads at once.
class Worker {
 public:
  // Debian's oneDNN runs on OpenMP, whose threads would fight with ours for the cores.
  Worker() : stream_(engine()) { omp_set_num_threads(1); }

  void multiply(const Shape& shape, const void* a, const void* b, void* c) {
    auto found = primitives_.find(shape);
    if (found == primitives_.end()) {
      if (primitives_.size() >= kMaxPrimitives) primitives_.clear();
      found = primitives_.emplace(shape, Primitive(shape)).first;
    }
    found->second.run(stream_, a, b, c);
  }

 private:
  dnnl::stream stream_;
  std::map<Shape, Primitive> primitives_;
};

Worker& worker() {
  static thread_local Worker w;
  return w;
}

// `m` itself where it is bf16, or its values rounded into `buffer`. (rows, cols) is its shape as stored.
MatrixIn as_bf16(const MatrixIn& m, size_t rows, size_t cols, Buffer<uint32_t>& buffer) {
  if (m.dtype == DType::kBf16) return m;
  const size_t pairs = ceil_div(cols, 2);
  uint32_t* to = ensure(buffer, rows * pairs);
  const Source from{static_cast<const std::byte*>(m.data), m.dtype, m.ld};
  parallel_ranges(rows, std::max<size_t>(1, kConvertGrain / cols), [&](size_t begin, size_t end) {
    bf16_kernels().pack_lines(to + begin * pairs, pairs, {from.at(begin, 0), m.dtype, m.ld}, end - begin,
                              cols, false);
  });
  return {to, DType::kBf16, 2 * pairs, m.transposed};
}

const void* element(const MatrixIn& m, size_t row, size_t col) {
  return static_cast<const bf16*>(m.data) + (m.transposed ? col * m.ld + row : row * m.ld + col);
}

// C's slice [row, row + rows) x [col, col + cols). An addend that is not C itself is copied there first.
void multiply_slice(const MatrixIn& a, const MatrixIn& b, const MatrixOut& c, const Addend& addend, size_t K,
                    size_t row, size_t rows, size_t col, size_t cols) {
  const size_t size = dtype_size(c.dtype);
  std::byte* to = static_cast<std::byte*>(c.data) + (row * c.ld + col) * size;
  if (addend.data != nullptr && addend.data != c.data) {
    const auto* from = static_cast<const std::byte*>(addend.data) + (row * addend.ld + col) * size;
    for (size_t i = 0; i < rows; ++i)
      std::memcpy(to + i * c.ld * size, from + i * addend.ld * size, cols * size);
  }
  const float scale = addend.data == nullptr ? 0.0f : static_cast<float>(addend.scale);
  const Shape shape{rows, cols, K, a.ld, b.ld, c.ld, a.transposed, b.transposed, c.dtype, scale};
  worker().multiply(shape, element(a, row, 0), element(b, 0, col), to);
}

}  // namespace

void multiply_onednn(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Addend addend) {
  static thread_local Buffer<uint32_t> a_buffer, b_buffer;
  const MatrixIn a16 = as_bf16(a, a.transposed ? K : M, a.transposed ? M : K, a_buffer);
  const MatrixIn b16 = as_bf16(b, b.transposed ? N : K, b.transposed ? K : N, b_buffer);
  const size_t rows = std::clamp(round_up(ceil_div(M, kWantedSlices), 32), kSliceRows, kMaxSliceRows);
  const size_t row_slices = ceil_div(M, rows);
  const size_t cols = std::max(kSliceColumns, round_up(ceil_div(N, ceil_div(kWantedSlices, row_slices)), 32));
  const size_t col_slices = ceil_div(N, cols);
  try {
    parallel_for(row_slices * col_slices, [&](size_t slice) {
      const size_t row = slice / col_slices * rows, col = slice % col_slices * cols;
      multiply_slice(a16, b16, c, addend, K, row, std::min(rows, M - row), col, std::min(cols, N - col));
    });
  } catch (const dnnl::error& e) {
    fail("oneDNN failed on a product of " + std::to_string(M) + " x " + std::to_string(K) + " and " +
             std::to_string(K) + " x " + std::to_string(N) + ": " + e.what(),
         "set FATHOM_GEMM=own");
  }
}

}  // namespace fathom::gemm_detail
