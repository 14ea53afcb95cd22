#include "io/dequantize.h"

#include <algorithm>

#include "core/threads.h"
#include "io/dequantize_blocks.h"
#include "io/io_error.h"
#include "kernels/isa.h"

namespace fathom {
namespace {

void require_weight_type(const TensorView& tensor) {
  if (stored_type_info(tensor.type).weight) return;
  std::string names;
  for (int t = 0; t < static_cast<int>(StoredType::kI64); ++t)
    names += (t > 0 ? ", " : "") + std::string(stored_type_name(static_cast<StoredType>(t)));
  fail_tensor(tensor.path(), tensor.name, "has type " + std::string(stored_type_name(tensor.type)),
              tensor.offset, "weights must be of one of " + names);
}

bool is_float8(StoredType type) { return type == StoredType::kF8E4M3 || type == StoredType::kF8E5M2; }

void check_scales(const StoredWeight& weight) {
  const TensorView &scales = *weight.scales, &tensor = *weight.tensor;
  if (scales.type != StoredType::kF32 && scales.type != StoredType::kBf16) {
    fail_tensor(scales.path(), scales.name,
                "has type " + std::string(stored_type_name(scales.type)) + ", expected F32 or BF16",
                scales.offset);
  }
  const auto blocks = [](size_t n, size_t side) { return n / side + (n % side != 0 ? 1 : 0); };
  const std::vector<size_t> expected = {blocks(tensor.rows(), weight.block.rows),
                                        blocks(tensor.row_elements(), weight.block.columns)};
  if (tensor.shape.size() != 2 || scales.shape != expected) {
    fail_tensor(scales.path(), scales.name,
                "has shape " + shape_text(scales.shape) + ", expected " + shape_text(expected) +
                    " for blocks of " + std::to_string(weight.block.rows) + " x " +
                    std::to_string(weight.block.columns) + " of " + shape_text(tensor.shape),
                scales.offset, "is quantization_config.weight_block_size right?");
  }
}

// Elements a chunk of work: 64 KiB of fp32.
constexpr size_t kGrain = 16384;

template <class To>
void blocks_fast(To* out, const TensorView& tensor, size_t begin, size_t n) {
  const StoredTypeInfo& info = stored_type_info(tensor.type);
  UnpackedBlocks unpacked;
  for (size_t i = 0; i < n; i += kUnpacked) {
    const std::byte* from = tensor.data + (begin + i) / info.block_elements * info.block_bytes;
    const size_t m = std::min(kUnpacked, n - i);
    unpack_blocks(unpacked, tensor.type, from, m);
    unpacked_to(out + i, unpacked, m);
  }
}

template <class To>
void scaled_rows(To* out, const StoredWeight& weight, size_t begin, size_t count) {
  const TensorView& tensor = *weight.tensor;
  const size_t C = tensor.row_elements(), width = stored_type_info(tensor.type).block_bytes;
  const size_t side = weight.block.columns, scale_columns = (C + side - 1) / side;
  for (size_t r = begin; r < begin + count; ++r, out += C) {
    for (size_t c = 0; c < C; c += side) {
      const size_t s = r / weight.block.rows * scale_columns + c / side;
      plain_to(out + c, tensor.type, tensor.data + (r * C + c) * width,
               static_cast<float>(element_ref(*weight.scales, s)), std::min(side, C - c));
    }
  }
}

// Rows begin where blocks do, so that rows side by side are one run of elements.
template <class To>
void rows_fast(To* out, const StoredWeight& weight, size_t begin, size_t count) {
  const TensorView& tensor = *weight.tensor;
  const size_t C = tensor.row_elements();
  if (weight.scales != nullptr) return scaled_rows(out, weight, begin, count);
  if (is_block_type(tensor.type)) return blocks_fast(out, tensor, begin * C, count * C);
  const size_t width = stored_type_info(tensor.type).block_bytes;
  plain_to(out, tensor.type, tensor.data + begin * C * width, 1.0f, count * C);
}

}  // namespace

void refuse_type(StoredType type) {
  fail("internal: elements of type " + std::string(stored_type_name(type)) + " are no weights");
}

StoredWeight find_weight(const TensorStore& store, const std::string& name, BlockShape block) {
  StoredWeight weight{.tensor = &store.at(name), .scales = store.find(name + "_scale_inv"), .block = block};
  require_weight_type(*weight.tensor);
  if (weight.scales != nullptr) {
    if (block.rows == 0 || block.columns == 0)
      fail_tensor(store.path(), name, "cannot be scaled in blocks of side 0");
    check_scales(weight);
  } else if (is_float8(weight.tensor->type) && store.find(name + "_scale") != nullptr) {
    fail_tensor(weight.tensor->path(), name, "has a " + name + "_scale beside it, which is not read",
                weight.tensor->offset, "scales of blocks (" + name + "_scale_inv) are");
  }
  return weight;
}

template <class To>
void dequantize_rows(To* out, const StoredWeight& weight, size_t begin, size_t count) {
  const size_t C = weight.tensor->row_elements();
  if (C == 0) return;
  const bool fast = active_isa() >= Isa::kAvx2 && weight.tensor->type != StoredType::kF64 &&
                    !(weight.scales != nullptr && is_block_type(weight.tensor->type));
  parallel_ranges(count, std::max<size_t>(1, kGrain / C), [&](size_t from, size_t to) {
    if constexpr (!std::is_same_v<To, double>) {
      if (fast) return rows_fast(out + from * C, weight, begin + from, to - from);
    }
    dequantize_rows_ref(out + from * C, weight, begin + from, to - from);
  });
}

template <class To>
void read_tensor(To* out, const TensorView& tensor) {
  require_weight_type(tensor);
  dequantize(out, StoredWeight{.tensor = &tensor, .scales = nullptr, .block = {}});
}

template void dequantize_rows(double*, const StoredWeight&, size_t, size_t);
template void dequantize_rows(float*, const StoredWeight&, size_t, size_t);
template void dequantize_rows(bf16*, const StoredWeight&, size_t, size_t);
template void read_tensor(double*, const TensorView&);
template void read_tensor(float*, const TensorView&);
template void read_tensor(bf16*, const TensorView&);

}  // namespace fathom
