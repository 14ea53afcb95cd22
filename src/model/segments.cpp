#include "model/segments.h"

#include <algorithm>
#include <cstring>

#include "core/buffer.h"
#include "core/profile.h"
#include "core/threads.h"
#include "kernels/attention.h"
#include "model/block.h"

namespace fathom {
namespace {

// One thread's memory for keys, values, the output and lse of one piece of work, kept from call to call.
template <class W>
struct PieceMemory {
  Buffer<W> k, v, out;
  Buffer<Stream<W>> lse;

  void reserve(size_t keys, size_t outputs, size_t sums) {
    ensure(k, keys);
    ensure(v, keys);
    ensure(out, outputs);
    ensure(lse, sums);
  }
};

// The keys and values of one head, of the segment's past and then its own, side by side.
template <class W>
void gather(PieceMemory<W>& memory, const W* k, const W* v, const Segment& segment, size_t stride,
            size_t HS) {
  size_t t = 0;
  const auto append = [&](const RowRange& rows) {
    for (size_t r = rows.row; r < rows.row + rows.count; ++r, ++t) {
      std::memcpy(memory.k.data() + t * HS, k + r * stride, HS * sizeof(W));
      std::memcpy(memory.v.data() + t * HS, v + r * stride, HS * sizeof(W));
    }
  };
  for (const RowRange& rows : segment.past) append(rows);
  append({segment.row, segment.length});
}

}  // namespace

size_t longest_sequence(std::span<const Segment> segments) {
  size_t longest = 0;
  for (const Segment& s : segments) longest = std::max(longest, s.position + s.length);
  return longest;
}

template <class W>
void segment_attention(BlockSaved<W>& saved, const BlockContext<W>& context) {
  const ModelConfig& c = *context.config;
  const std::span<const Segment> segments = context.segments;
  const size_t NKV = c.num_key_value_heads, group = c.num_attention_heads / NKV, HS = c.head_dim;
  const size_t ld = c.qkv_size(), width = group * HS;
  const ProfileScope scope("segment attention");
  // One segment under one head of keys is one piece of work.
  parallel_for(segments.size() * NKV, [&](size_t i) {
    static thread_local PieceMemory<W> memory;
    const Segment& segment = segments[i / NKV];
    const size_t g = i % NKV, n = segment.length, keys = segment.position + n;
    memory.reserve(keys * HS, n * width, n * group);
    const W* const k = saved.qkv + c.q_size() + g * HS;
    gather(memory, k, k + c.kv_size(), segment, ld, HS);
    AttentionShape shape{};
    shape.B = 1;
    shape.Tq = n;
    shape.Tk = keys;
    shape.NH = group;
    shape.NKV = 1;
    shape.HS = HS;
    shape.q_stride = ld;
    shape.kv_stride = HS;
    shape.kv_batch_stride = keys * HS;
    shape.q_start = segment.position;
    shape.first_key = context.first_key == nullptr ? nullptr : context.first_key + segment.row;
    shape.scale = c.attention_scale();
    shape.softcap = c.attention_softcap;
    shape.in_blocks = true;
    attention_forward<W>(memory.out.data(), memory.lse.data(), saved.qkv + segment.row * ld + g * width,
                         memory.k.data(), memory.v.data(), shape);
    for (size_t t = 0; t < n; ++t)
      std::memcpy(saved.attn_out + (segment.row + t) * c.q_size() + g * width, memory.out.data() + t * width,
                  width * sizeof(W));
  });
}

#define FATHOM_INSTANTIATE(W) template void segment_attention<W>(BlockSaved<W>&, const BlockContext<W>&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
