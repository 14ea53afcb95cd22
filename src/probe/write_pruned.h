#pragma once
// Checkpoints without some of their layers, written as Hugging Face folders.
//
// Goals: what `transformers` opens and what computes, layer by layer, exactly what the source computes
// without the dropped layers; weights as they are stored, byte for byte, unless asked otherwise; nothing
// under the name of `out` before it was read back and compared. Non-goals: healing what the removal broke.

#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "core/progress.h"
#include "io/checkpoint.h"

namespace fathom {

/// How weights are stored: as the source has them (F8 with its block scales too; of a GGUF file, whose
/// quantized values fit no narrower type exactly, F32), or converted.
enum class StoreAs { kSource, kF32, kBf16 };
/// "source", "f32" or "bf16". Errors: Error (usage) for another name.
StoreAs parse_store(const std::string& name);

struct WrittenCheckpoint {
  ModelConfig config;
  size_t files = 0;  ///< of weights
  uint64_t size_bytes = 0;
  /// Largest change of a logit by rounding the weights, over the largest logit, on random tokens; 0 where
  /// nothing was rounded.
  double rounding = 0;
};

/// Writes `model` (a checkpoint folder or a .gguf file) without the layers at the 1-based places `dropped`
/// (rising) to the new folder `out`, with the tokenizer's files; `also`, where given, adds to the folder
/// before it gets its name. A source in several files becomes as many (less those that are left empty).
/// Weights go from file to file, a tensor in memory at a time, and then a layer or the head, for the
/// comparison: bytes with the source's, config.json with what was meant, and streams after each layer and
/// logits with a run of the source that skips the layers, bit for bit. Errors: Error where `out` holds
/// something already, or where what was read back differs, naming the tensor or the first layer; those of
/// StoredParameters.
WrittenCheckpoint write_pruned(const std::filesystem::path& model, std::span<const size_t> dropped,
                               const std::filesystem::path& out, StoreAs store = StoreAs::kSource,
                               const std::function<void(const std::filesystem::path&)>& also = {},
                               Progress* progress = nullptr);

/// What stops write_pruned and is known before any weight is read: for those who measure first. Errors: Error
/// where `model` is an adapter, where `out` is taken or can't be made; with the layers, where no config.json
/// describes the model without them.
void require_prunable(const std::filesystem::path& model, const std::filesystem::path& out);
void require_prunable(const std::filesystem::path& model, const std::filesystem::path& out,
                      std::span<const size_t> dropped, StoreAs store);

/// config.json of the pruned model: the source's own with what pruning changes (depth, lists that have an
/// entry a layer, norm_scheme, the class where no stock one keeps the scheme, the type that weights are
/// stored in); all other keys stay.
nlohmann::json pruned_config_json(const nlohmann::json& source, const ModelConfig& source_config,
                                  std::span<const size_t> dropped, StoreAs store);

}  // namespace fathom
