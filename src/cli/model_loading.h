#pragma once
// How commands open a model: one place that knows run folders, Hugging Face folders and --dtype.

#include <filesystem>
#include <memory>
#include <string>
#include <type_traits>

#include "cli/command.h"
#include "io/checkpoint.h"
#include "io/streamed_weights.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace fathom {
class GgufMetadata;
struct GgufVocabulary;
}  // namespace fathom

namespace fathom::cli {

/// "fp32" or "bf16" -> DType. Errors: Error (usage).
DType parse_dtype(const std::string& name);

/// Where a model's tokenizer stands: in its own folder or .gguf file, or, of an adapter that brings none
/// (PEFT saves none by itself), where its base's stands.
std::filesystem::path tokenizer_source(const std::filesystem::path& model);

/// The tokenizer of a model: of the folder, or the vocabulary inside the .gguf file, of tokenizer_source().
/// Errors: Error.
Tokenizer load_tokenizer(const std::filesystem::path& model);

/// The files of tokenizer_source() into `folder`, made of a .gguf file's vocabulary; over them what else an
/// adapter's own folder has of them (a chat template). Errors: Error.
void add_tokenizer_files(const std::filesystem::path& model, const std::filesystem::path& folder);

/// The vocabulary inside a GGUF file, as its metadata give it. Errors: Error naming the key.
GgufVocabulary read_gguf_vocabulary(const GgufMetadata& metadata);

/// The chat template of a model: its own, or the one beside its tokenizer; ChatML where neither is there.
/// Errors: those of ChatTemplate.
ChatTemplate load_chat_template(const std::filesystem::path& model);

/// A model with its weights in memory, in compute type W.
template <class W>
struct LoadedModel {
  std::filesystem::path folder;
  ModelConfig config;
  std::unique_ptr<ResidentWeights<W>> weights;
  std::unique_ptr<Transformer<W>> transformer;
};

/// Bytes of all weights in memory, as LoadedModel holds them: under bf16 the masters too.
template <class W>
size_t loaded_bytes(const ModelConfig& config) {
  const size_t masters = sizeof(Stream<W>), copy = std::is_same_v<W, Stream<W>> ? 0 : sizeof(W);
  return parameter_count(parameter_list(config)) * (masters + copy);
}

/// Errors: Error where `bytes`, which `what` takes in `dtype`, are more than `available`: before the system
/// ends the program without a word.
void require_room(const std::string& what, size_t bytes, DType dtype, uint64_t available);
/// The same, of what is available now.
void require_room(const std::string& what, size_t bytes, DType dtype);

/// Errors: those of resolve_model, read_config, require_room and load_weights.
template <class W>
LoadedModel<W> load_model(const std::string& model) {
  LoadedModel<W> loaded;
  loaded.folder = resolve_model(model);
  loaded.config = read_config(loaded.folder);
  require_room(model, loaded_bytes<W>(loaded.config), dtype_of<W>());
  loaded.weights = std::make_unique<ResidentWeights<W>>(loaded.config);
  load_weights(*loaded.weights, loaded.folder, make_progress_if_long().get());
  loaded.transformer = std::make_unique<Transformer<W>>(loaded.config, *loaded.weights);
  return loaded;
}

/// What a command may take: what --memory asks for, or 0.8 of what is available where it asks for nothing.
size_t granted_memory(uint64_t asked);

/// A model whose weights are read as they are needed, in compute type W.
template <class W>
struct OpenedModel {
  std::filesystem::path folder;
  ModelConfig config;
  std::unique_ptr<StreamedWeights<W>> weights;
  std::unique_ptr<Transformer<W>> transformer;
};

/// `memory_bytes`: what the weights may take, packed ones among them (see StreamedWeights); `packs`: for one
/// who runs many passes over many tokens. Errors: those of resolve_model, read_config and StreamedWeights.
template <class W>
OpenedModel<W> open_model(const std::string& model, size_t memory_bytes, bool packs = true) {
  OpenedModel<W> opened;
  opened.folder = resolve_model(model);
  opened.config = read_config(opened.folder);
  opened.weights = std::make_unique<StreamedWeights<W>>(opened.folder, opened.config, memory_bytes);
  if (packs) opened.weights->keep_packed(memory_bytes);
  opened.transformer = std::make_unique<Transformer<W>>(opened.config, *opened.weights);
  return opened;
}

/// Says that `kept` of the layers find room, and that the others are read again and again.
void say_little_room(size_t kept, size_t layers, DType dtype);

/// Reads the model before it is asked for, so that the time of the work is the work's; where not all of it
/// finds room, says so. Errors: those of reading.
template <class W>
void read_ahead(OpenedModel<W>& model) {
  const size_t L = model.config.num_hidden_layers;
  if (const size_t kept = model.weights->layers_kept(); kept < L)
    return say_little_room(kept, L, dtype_of<W>());
  const auto progress = make_progress_if_long();
  CountedWork loaded(progress.get(), "load", L, "layers");
  for (size_t l = 0; l < L; ++l) {
    if (l + 1 < L) model.weights->prefetch(l + 1);
    model.weights->layer(l);
    loaded.add(1);
  }
  model.weights->head();
}

/// Calls fn.template operator()<float>() or <bf16>(), as `dtype` says.
template <class Fn>
auto with_dtype(DType dtype, const Fn& fn) {
  return dtype == DType::kBf16 ? fn.template operator()<bf16>() : fn.template operator()<float>();
}

}  // namespace fathom::cli
