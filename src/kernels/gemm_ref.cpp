#include "kernels/gemm.h"

#include <vector>

namespace fathom {
namespace {

double load(const void* data, DType dtype, size_t i) {
  switch (dtype) {
    case DType::kF64:
      return static_cast<const double*>(data)[i];
    case DType::kF32:
      return static_cast<const float*>(data)[i];
    case DType::kBf16:
      return static_cast<double>(static_cast<const bf16*>(data)[i]);
  }
  return 0;
}

void store(void* data, DType dtype, size_t i, double value) {
  switch (dtype) {
    case DType::kF64:
      static_cast<double*>(data)[i] = value;
      break;
    case DType::kF32:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      break;
    case DType::kBf16:
      static_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
      break;
  }
}

// The whole operand as doubles, row-major as the product sees it, so that the inner loop below runs over
// contiguous rows.
std::vector<double> unpack(const MatrixIn& m, size_t rows, size_t cols, Compute compute) {
  std::vector<double> out(rows * cols);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < cols; ++j) {
      double v = load(m.data, m.dtype, m.transposed ? j * m.ld + i : i * m.ld + j);
      if (compute == DType::kBf16) v = static_cast<double>(bf16(static_cast<float>(v)));
      out[i * cols + j] = v;
    }
  }
  return out;
}

}  // namespace

void gemm_ref(size_t M, size_t N, size_t K, MatrixIn a, MatrixIn b, MatrixOut c, Compute compute,
              Addend addend) {
  const std::vector<double> A = unpack(a, M, K, compute), B = unpack(b, K, N, compute);
  std::vector<double> row(N);
  for (size_t i = 0; i < M; ++i) {
    row.assign(N, 0.0);
    for (size_t k = 0; k < K; ++k) {
      const double a_ik = A[i * K + k];
      for (size_t j = 0; j < N; ++j) row[j] += a_ik * B[k * N + j];
    }
    for (size_t j = 0; j < N; ++j) {
      if (addend.data != nullptr) row[j] += addend.scale * load(addend.data, c.dtype, i * addend.ld + j);
      store(c.data, c.dtype, i * c.ld + j, row[j]);
    }
  }
}

}  // namespace fathom
