// fathom export: a model in the formats that other programs read.

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "core/temporary_path.h"
#include "core/tokenizer_files.h"
#include "io/export.h"
#include "io/gguf_model.h"
#include "text/gguf_vocabulary.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, out, format, type;
  bool fold = false, no_tokenizer = false;
};

StoredType parse_type(const std::string& name) {
  if (name == "f32") return StoredType::kF32;
  if (name == "f16") return StoredType::kF16;
  if (name == "bf16") return StoredType::kBf16;
  return StoredType::kQ8_0;
}

std::string type_name(StoredType type) {
  std::string name(stored_type_name(type));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

bool has_tokenizer(const fs::path& model) {
  const fs::path source = tokenizer_source(model);
  if (is_gguf(source)) {
    const std::string kind = GgufFile(source).metadata().text("tokenizer.ggml.model", "none");
    return kind != "none" && kind != "no_vocab";
  }
  return fs::exists(source / "tokenizer.json") || fs::exists(source / "tokenizer.model");
}

std::vector<std::pair<std::string, std::string>> tokenizer_files(const fs::path& model) {
  std::vector<std::pair<std::string, std::string>> files;
  const TemporaryPath scratch(fs::temp_directory_path() / "fathom-tokenizer");
  fs::create_directories(scratch.path());
  add_tokenizer_files(model, scratch.path());
  for (const char* name : kTokenizerFiles) {
    if (fs::exists(scratch.path() / name)) files.emplace_back(name, read_text_file(scratch.path() / name));
  }
  return files;
}

GgufPairs tokenizer_pairs(const GgufVocabulary& v) {
  const std::string prefix = "tokenizer.ggml.";
  GgufPairs pairs{{prefix + "model", gguf_string(v.model)}};
  if (v.model == "gpt2") pairs.emplace_back(prefix + "pre", gguf_string(v.pre.empty() ? "default" : v.pre));
  if (v.model == "llama") pairs.emplace_back(prefix + "pre", gguf_string("default"));
  pairs.emplace_back(prefix + "tokens", gguf_strings(v.tokens));
  if (!v.scores.empty()) pairs.emplace_back(prefix + "scores", gguf_float32s(v.scores));
  if (!v.token_types.empty()) pairs.emplace_back(prefix + "token_type", gguf_int32s(v.token_types));
  if (!v.merges.empty()) pairs.emplace_back(prefix + "merges", gguf_strings(v.merges));
  const auto id = [&](const char* key, int32_t value) {
    if (value >= 0) pairs.emplace_back(prefix + key, gguf_uint32(static_cast<uint32_t>(value)));
  };
  id("bos_token_id", v.bos);
  id("eos_token_id", v.eos);
  id("unknown_token_id", v.unknown);
  id("padding_token_id", v.padding);
  pairs.emplace_back(prefix + "add_bos_token", gguf_bool(v.add_bos));
  pairs.emplace_back(prefix + "add_eos_token", gguf_bool(v.add_eos));
  if (v.model == "llama") pairs.emplace_back(prefix + "add_space_prefix", gguf_bool(v.add_space_prefix));
  if (!v.chat_template.empty()) pairs.emplace_back("tokenizer.chat_template", gguf_string(v.chat_template));
  return pairs;
}

// A model without a tokenizer: llama.cpp then takes ids alone.
GgufPairs no_vocabulary(const ModelConfig& config) {
  GgufPairs pairs{{"tokenizer.ggml.model", gguf_string("no_vocab")}};
  const auto id = [&](const char* key, long value) {
    if (value >= 0) pairs.emplace_back(key, gguf_uint32(static_cast<uint32_t>(value)));
  };
  id("tokenizer.ggml.bos_token_id", config.bos_token_id);
  id("tokenizer.ggml.eos_token_id", config.eos_token_id);
  return pairs;
}

GgufVocabulary vocabulary_of(const fs::path& model, const ModelConfig& config) {
  const fs::path source = tokenizer_source(model);
  if (is_gguf(source)) return read_gguf_vocabulary(GgufFile(source).metadata());
  GgufVocabulary v = gguf_vocabulary_of(source, config.vocab_size);
  if (source != model) {  // an adapter may bring a template alone
    if (const auto own = ChatTemplate::find_source(model)) v.chat_template = *own;
  }
  return v;
}

// The file or folder to write. A folder as the target of a GGUF gets the file model.gguf.
fs::path target_of(const Options& o, ExportFormat format) {
  const fs::path out = without_trailing_slash(o.out);
  if (format == ExportFormat::kHuggingFace) {
    if (is_gguf(out)) usage_error("--format hf writes a folder, and --out names a .gguf file");
    return out;
  }
  return out.extension() == ".gguf" ? out : out / "model.gguf";
}

// What the model is called in a GGUF file: "Smol-1.7B" of a folder, "a" of a.gguf, "x" of "x/".
std::string name_of(const std::string& model) {
  fs::path path = fs::absolute(model).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return (is_gguf(path) ? path.stem() : path.filename()).string();
}

const char* fold_text(const Options& o, const ExportOptions& options) {
  if (options.fold) return ", scheme folded into the weights";
  return o.fold ? ", nothing folded: the scheme 'pre' has no constants" : "";
}

void run(const Options& o) {
  const fs::path model = resolve_model(o.model);
  const ModelConfig config = read_config(model);
  const bool gguf = o.format.empty() ? fs::path(o.out).extension() == ".gguf" : o.format == "gguf";
  ExportOptions options;
  options.format = gguf ? ExportFormat::kGguf : ExportFormat::kHuggingFace;
  // Under Pre-LN there is nothing to fold: such a model is exported as it is.
  options.fold = o.fold && config.norm.type != NormType::kPre;
  if (!o.type.empty()) options.type = parse_type(o.type);
  const fs::path out = target_of(o, options.format);
  options.name = name_of(o.model);
  const bool with_tokenizer = !o.no_tokenizer && has_tokenizer(model);
  if (!with_tokenizer && !o.no_tokenizer)
    log_warning(o.model + " has no tokenizer: the export has none either");
  if (!gguf && with_tokenizer) options.files = tokenizer_files(model);
  if (gguf)
    options.tokenizer =
        with_tokenizer ? tokenizer_pairs(vocabulary_of(model, config)) : no_vocabulary(config);
  const auto progress = make_progress_if_long();
  options.progress = progress.get();
  const ExportResult r = export_model(model, out, options);
  if (gguf && r.model_type == "llama" && config.sliding_window > 0) {
    log_warning(fmt::format(
        "llama.cpp has no sliding window for this architecture: past {} tokens it attends to more",
        config.sliding_window));
  }
  fmt::print("{}: {}, {} parameters, {}, {}{}\n", out.string(), r.model_type,
             count_text(static_cast<double>(r.parameters)), type_name(r.type),
             bytes_text(static_cast<double>(r.bytes)), fold_text(o, options));
  if (!r.kept_wider.empty())
    fmt::print("{} tensors stay f16: their rows are no whole blocks of 32\n", r.kept_wider.size());
  fmt::print(
      "read back: logits differ from the same weights' by {:.1e} of the largest, from the source's by "
      "{:.1e}\n",
      r.deviation, r.deviation_from_source);
  write_result(*o.common, {{"model", o.model},
                           {"out", out.string()},
                           {"format", gguf ? "gguf" : "hf"},
                           {"architecture", r.model_type},
                           {"type", type_name(r.type)},
                           {"kept_wider", r.kept_wider},
                           {"folded", options.fold},
                           {"tokenizer", with_tokenizer},
                           {"parameters", r.parameters},
                           {"bytes", r.bytes},
                           {"deviation", r.deviation},
                           {"deviation_from_source", r.deviation_from_source}});
}

}  // namespace

void add_export(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(
      app, "export", "Write a model as a Hugging Face folder or a GGUF file, and hold it to its source",
      "fathom export runs/lns --out lns-llama --fold-norm-scale       # any Llama runtime computes it\n"
      "  fathom export runs/lns --out lns.gguf --fold-norm-scale --type f16   # llama.cpp\n"
      "  fathom export model.gguf --out folder --type bf16                    # transformers",
      o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder").required();
  c.option("--out", o->out, "New folder (hf), or new file or folder (gguf)").required();
  c.option("--format", o->format, "hf or gguf (default: gguf where --out ends in .gguf)")
      .one_of({"hf", "gguf"});
  c.option(
       "--type", o->type,
       "Of the matrices: f32, f16, bf16, q8_0 (gguf) (default: the source's where nothing is lost, else f32)")
      .one_of({"f32", "f16", "bf16", "q8_0"});
  c.flag("--fold-norm-scale", o->fold,
         "Multiply the constants of lns (or the gains of layerscale) into the weights: a plain Llama");
  c.flag("--no-tokenizer", o->no_tokenizer, "Leave the tokenizer out");
  c.runs([o] {
    apply(*o->common);
    run(*o);
  });
}

}  // namespace fathom::cli
