#pragma once
// The residual stream of chosen layers and tokens, written to a file as a forward pass goes by.
//
// Goals: any model that the forward runs; one batch's streams in memory, whatever the size of the text, since
// every row's place in the file is known beforehand. The stream is raw: before the final norm (Hugging Face's
// last hidden_states entry is after it).

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "core/progress.h"
#include "model/transformer.h"
#include "text/windows.h"

namespace fathom {

enum class DumpPoint {
  kLayer,            ///< the stream after the layer (or the embedding)
  kAttention,        ///< the stream between the layer's two steps
  kAttentionUpdate,  ///< what the attention step adds: after minus before
  kMlpUpdate,        ///< what the MLP step adds
};

/// One array of the file.
struct DumpEntry {
  size_t layer;  ///< 1-based; 0: the embedding
  DumpPoint point;
  std::string name;  ///< "embedding", "layer.5", "layer.5.attn", "layer.5.attn_update", ...
};

/// `layers`: "all" (the embedding and every layer), or "embedding", layers and ranges of them, such as
/// "embedding,1,5-8". `points`: layer, attn, mlp (the stream after the MLP step: layer by another name),
/// attn_update, mlp_update, or several of them. In the order of the forward. Errors: Error (usage) naming
/// what is no layer of num_layers, or no point.
std::vector<DumpEntry> parse_dump_entries(const std::string& layers, const std::vector<std::string>& points,
                                          size_t num_layers);

/// `positions`: "all", "first", "last", or 0-based positions and ranges such as "0,5-8"; those past the end
/// of a sequence are none of it. Returns each sequence's positions, rising. Errors: Error (usage) where the
/// text is none of these, or names no position of any sequence.
std::vector<std::vector<size_t>> parse_positions(const std::string& positions,
                                                 const TokenSequences& sequences);

struct DumpResult {
  std::vector<size_t> shape;  ///< of the .npy file, or of each tensor of the .safetensors file
  size_t rows = 0;            ///< tokens written, sequence by sequence
  uint64_t bytes = 0;
};

/// Runs the model over all ids of the sequences (up to the highest layer asked for) and writes fp32 values,
/// atomically. A .npy file is one array (entries, rows, C); a .safetensors file has a tensor (rows, C) for
/// each entry by its name, and I64 vectors `token_ids`, `sequence` and `position` (0-based), one element a
/// row. Errors: Error where the file is of another kind or can't be written; the transformer's.
template <class W>
DumpResult dump_streams(Transformer<W>& model, const TokenSequences& sequences,
                        const std::vector<std::vector<size_t>>& positions,
                        const std::vector<DumpEntry>& entries, size_t batch_size,
                        const std::filesystem::path& out, Progress& progress);

}  // namespace fathom
