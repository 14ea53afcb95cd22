#include "cli/model_loading.h"

#include <cstdint>

#include <fmt/format.h>

#include "core/error.h"
#include "core/format.h"
#include "core/log.h"
#include "io/adapter.h"
#include "io/gguf_model.h"
#include "text/gguf_vocabulary.h"
#include "train/machine.h"

namespace fathom::cli {

size_t granted_memory(uint64_t asked) {
  if (asked > 0) return asked;
  return static_cast<size_t>(0.8 * static_cast<double>(available_memory().value_or(uint64_t{4} << 30)));
}

void require_room(const std::string& what, size_t bytes, DType dtype, uint64_t available) {
  if (bytes <= available) return;
  fail(fmt::format("{}: needs {} in {}, {} are free", what, bytes_text(static_cast<double>(bytes)),
                   dtype_name(dtype), bytes_text(static_cast<double>(available))),
       "probe, prune, eval, generate, logits, export and dump read a model as it is needed");
}

void require_room(const std::string& what, size_t bytes, DType dtype) {
  if (const auto available = available_memory()) require_room(what, bytes, dtype, *available);
}

void say_little_room(size_t kept, size_t layers, DType dtype) {
  log_info(fmt::format("{} of {} layers find room in memory: the others are read whenever they are needed{}",
                       kept, layers, dtype == DType::kF32 ? "; --dtype bf16 takes half as much" : ""));
}

GgufVocabulary read_gguf_vocabulary(const GgufMetadata& meta) {
  const std::string prefix = "tokenizer.ggml.";
  GgufVocabulary v;
  v.model = meta.text(prefix + "model");
  v.pre = meta.text(prefix + "pre", "");
  v.tokens = meta.texts(prefix + "tokens");
  if (meta.has(prefix + "scores")) {
    for (const double score : meta.reals(prefix + "scores")) v.scores.push_back(static_cast<float>(score));
  }
  if (meta.has(prefix + "token_type")) {
    for (const int64_t type : meta.integers(prefix + "token_type"))
      v.token_types.push_back(static_cast<int32_t>(type));
  }
  if (meta.has(prefix + "merges")) v.merges = meta.texts(prefix + "merges");
  const auto id = [&](const char* name) {
    const int64_t value = meta.integer(prefix + name, -1);
    if (value < -1 || value > INT32_MAX) meta.bad(prefix + name, "is no token id");
    return static_cast<int32_t>(value);
  };
  v.bos = id("bos_token_id");
  v.eos = id("eos_token_id");
  v.unknown = id("unknown_token_id");
  v.padding = id("padding_token_id");
  v.add_bos =
      meta.boolean(prefix + "add_bos_token", v.model == "llama" || gguf_pre_tokenizer_adds_bos(v.pre));
  v.add_eos = meta.boolean(prefix + "add_eos_token", false);
  v.add_space_prefix = meta.boolean(prefix + "add_space_prefix", true);
  v.chat_template = meta.text("tokenizer.chat_template", "");
  return v;
}

DType parse_dtype(const std::string& name) {
  if (name == "fp32") return DType::kF32;
  if (name == "bf16") return DType::kBf16;
  usage_error("unknown --dtype '" + name + "'", "known: fp32, bf16");
}

std::filesystem::path tokenizer_source(const std::filesystem::path& model) {
  const auto has_own = [](const std::filesystem::path& folder) {
    return std::filesystem::exists(folder / "tokenizer.json") ||
           std::filesystem::exists(folder / "tokenizer.model");
  };
  return is_adapter(model) && !has_own(model) ? tokenizer_source(adapter_base(model)) : model;
}

Tokenizer load_tokenizer(const std::filesystem::path& model) {
  const std::filesystem::path source = tokenizer_source(model);
  if (!is_gguf(source)) return Tokenizer::load(source);
  const GgufFile file(source);
  return Tokenizer::from_gguf(read_gguf_vocabulary(file.metadata()), source);
}

void add_tokenizer_files(const std::filesystem::path& model, const std::filesystem::path& folder) {
  const std::filesystem::path source = tokenizer_source(model);
  if (is_gguf(source))
    load_tokenizer(source).save(folder);
  else
    copy_tokenizer_files(source, folder);
  if (source != model) copy_tokenizer_files(model, folder);
}

ChatTemplate load_chat_template(const std::filesystem::path& model) {
  std::optional<ChatTemplate> found;
  const std::filesystem::path source = tokenizer_source(model);
  if (source != model) found = ChatTemplate::find(model);  // an adapter may bring a template alone
  if (!found && is_gguf(source)) {
    const GgufFile file(source);
    found = ChatTemplate::of_config(
        gguf_tokenizer_files(read_gguf_vocabulary(file.metadata()), source).config, source);
  } else if (!found) {
    found = ChatTemplate::find(source);
  }
  return found ? *found : ChatTemplate::chatml();
}

}  // namespace fathom::cli
