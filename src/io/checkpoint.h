#pragma once
// Checkpoints: Hugging Face directories (config.json, safetensors in one file or many, tokenizer files), and
// GGUF files.

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "core/progress.h"
#include "io/dequantize.h"
#include "model/transformer.h"

namespace fathom {

/// MODEL of the command line: a Hugging Face directory, a .gguf file, an adapter's directory (adapter.h) or a
/// run directory (its last complete checkpoint). Returns the directory that holds config.json (an adapter's:
/// adapter_config.json) and the weights, or the file. Errors: Error
/// (usage) where it is neither.
std::filesystem::path resolve_model(const std::filesystem::path& model);

/// config.json <-> ModelConfig. Reading takes a folder, a config.json or a .gguf file, fills
/// defaults, and validates. An adapter's folder gives the config of its base, into which load_weights folds
/// it. Errors: Error naming the file and the key; an architecture or feature that is not supported
/// (rope_scaling, another activation) is named.
ModelConfig read_config(const std::filesystem::path& folder_or_file);
ModelConfig config_from_json(const nlohmann::json& json, const std::string& origin);
/// `stored` goes into torch_dtype. Only `pre` is written as LlamaForCausalLM; the others as FathomForCausalLM
/// (design).
nlohmann::json config_to_json(const ModelConfig& config, DType stored);

/// No config.json is larger (16 MiB).
inline constexpr size_t kMaxConfigBytes = size_t{16} << 20;

/// The sides of the blocks that share a scale, of config.json's "quantization_config"; the default where it
/// has none. Errors: Error where it names a method other than "fp8", or sides that are no sizes.
BlockShape block_shape_from_json(const nlohmann::json& config, const std::string& origin);
BlockShape read_block_shape(const std::filesystem::path& folder);

/// Reads all weights of `folder` (or of a .gguf file) into `weights` (masters, then refresh()). Errors: Error
/// where a tensor is missing, is of another shape, or is left over.
template <class W>
void load_weights(ResidentWeights<W>& weights, const std::filesystem::path& folder,
                  Progress* progress = nullptr);

/// Writes config.json, model.safetensors and, where the scheme needs it, modeling_fathom.py into `folder`,
/// which exists.
template <class S>
void save_model(const std::filesystem::path& folder, const ModelConfig& config,
                const std::vector<ParamSpec>& list, const S* values, DType stored,
                Progress* progress = nullptr);

/// Copies what exists of kTokenizerFiles.
void copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace fathom
