#include "probe/prune.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include <unistd.h>

#include "core/error.h"
#include "core/file.h"
#include "core/rng.h"
#include "io/gguf_model.h"
#include "io/safetensors.h"
#include "probe/stream_metrics.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

// A whole number that fills `text`, or 0.
size_t parse_layer(std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

// 0-based places of the layers that stay.
std::vector<size_t> kept_layers(size_t num_layers, std::span<const size_t> dropped) {
  std::vector<size_t> kept;
  for (size_t l = 0; l < num_layers; ++l) {
    if (!std::binary_search(dropped.begin(), dropped.end(), l + 1)) kept.push_back(l);
  }
  return kept;
}

DType stored_dtype(const fs::path& folder) {
  if (is_gguf(folder)) return DType::kF32;  // dequantized values fit no narrower type exactly
  return open_tensor_store(folder)->at("model.embed_tokens.weight").type == StoredType::kBf16 ? DType::kBf16
                                                                                              : DType::kF32;
}

// Random tokens for the comparison: enough to tell a wrong layer, few enough to cost nothing.
struct ProbeBatch {
  explicit ProbeBatch(const ModelConfig& config)
      : tokens(2 * std::min<size_t>(16, config.max_position_embeddings)) {
    Rng rng(1);
    for (int32_t& t : tokens) t = static_cast<int32_t>(rng.below(config.vocab_size));
  }
  Batch view() const { return {.B = 2, .T = tokens.size() / 2, .tokens = tokens.data()}; }
  std::vector<int32_t> tokens;
};

// Streams after each layer of `program`, one behind the other, the embedding first.
std::vector<std::vector<float>> streams_of(Transformer<float>& model, const Program<float>& program,
                                           const Batch& batch) {
  const size_t n = batch.rows() * model.config().hidden_size;
  std::vector<std::vector<float>> streams;
  Buffer<float> x(n);
  const Observer<float> keep = [&](const Tap<float>& tap) {
    if (tap.point != TapPoint::kAttention) streams.emplace_back(tap.after, tap.after + n);
  };
  model.embed(x.data(), batch, keep);
  model.run(x.data(), program, batch, keep);
  return streams;
}

// What was written, read back, must be what was to be written, and must compute what the source computes
// without the dropped layers.
void check_written(const fs::path& folder, Transformer<float>& source, const ResidentWeights<float>& expected,
                   std::span<const size_t> dropped, DType stored) {
  ResidentWeights<float> read(read_config(folder));
  load_weights(read, folder);
  for (const ParamSpec& spec : expected.list()) {
    for (size_t i = spec.offset; i < spec.offset + spec.size(); ++i) {
      const auto offset =
          static_cast<float>(is_norm_weight(spec.role) ? expected.config().norm_weight_offset : 0.0);
      const float in_file = expected.values()[i] - offset;
      const float wanted = (stored == DType::kBf16 ? static_cast<float>(bf16(in_file)) : in_file) + offset;
      if (read.values()[i] != wanted && !(std::isnan(read.values()[i]) && std::isnan(wanted))) {
        fail({.what = "reads back differently from what was written",
              .path = folder.string(),
              .tensor = spec.name,
              .offset = {},
              .line = {},
              .hint = "is the disk sound?"});
      }
    }
  }
  Transformer<float> pruned(read.config(), read);
  std::vector<size_t> removed;
  for (const size_t l : dropped) removed.push_back(l - 1);
  const ProbeBatch tokens(source.config());
  const auto a = streams_of(source, program_without<float>(source.plans().size(), removed), tokens.view());
  const auto b = streams_of(pruned, whole_program<float>(pruned.plans().size()), tokens.view());
  for (size_t l = 0; l < a.size(); ++l) {
    if (a[l] == b[l]) continue;
    fail({.what = l == 0 ? std::string("the embedding of the pruned model differs from the source's")
                         : "layer " + std::to_string(l) +
                               " of the pruned model computes something else than layer " +
                               std::to_string(pruned.plans()[l - 1].index) + " of the original",
          .path = folder.string(),
          .tensor = {},
          .offset = {},
          .line = {},
          .hint = {}});
  }
}

// A folder under a temporary name, gone unless it is kept.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& target)
      : path_(target.string() + ".partial-" + std::to_string(::getpid())) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }
  void rename_to(const fs::path& target) {
    sync_folder(path_);
    fs::rename(path_, target);
    path_.clear();
  }

 private:
  fs::path path_;
};

}  // namespace

std::vector<size_t> parse_layers(const std::string& text, size_t num_layers) {
  const auto refuse = [&](const std::string& what) {
    usage_error("--drop '" + text + "': " + what,
                "give layers of 1.." + std::to_string(num_layers) + " such as 21-24,27");
  };
  std::vector<size_t> layers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = std::string_view(text).substr(begin, end - begin);
    const size_t dash = part.find('-');
    const size_t first = parse_layer(part.substr(0, dash));
    const size_t last = dash == std::string_view::npos ? first : parse_layer(part.substr(dash + 1));
    if (first == 0 || last == 0) refuse("'" + std::string(part) + "' is no layer or range of layers");
    if (first > last) refuse("the range '" + std::string(part) + "' runs backwards");
    if (last > num_layers)
      refuse("layer " + std::to_string(last) + " is beyond the last, " + std::to_string(num_layers));
    for (size_t l = first; l <= last; ++l) layers.push_back(l);
    begin = end + 1;
  }
  std::sort(layers.begin(), layers.end());
  const auto twice = std::adjacent_find(layers.begin(), layers.end());
  if (twice != layers.end()) refuse("layer " + std::to_string(*twice) + " is named twice");
  if (layers.size() == num_layers) refuse("no layer would be left");
  return layers;
}

ModelConfig pruned_config(const ModelConfig& config, std::span<const size_t> dropped) {
  ModelConfig pruned = config;
  pruned.norm = resolved(config.norm, config.num_hidden_layers);
  const std::vector<size_t> index = std::move(pruned.norm.layer_index);
  pruned.norm.layer_index.clear();
  for (const size_t l : kept_layers(config.num_hidden_layers, dropped))
    pruned.norm.layer_index.push_back(index[l]);
  pruned.num_hidden_layers = pruned.norm.layer_index.size();
  pruned.windowed.clear();
  for (const size_t l : kept_layers(config.num_hidden_layers, dropped)) {
    if (!config.windowed.empty()) pruned.windowed.push_back(config.windowed[l]);
  }
  return pruned;
}

template <class W>
void copy_kept_weights(ResidentWeights<W>& to, const ResidentWeights<W>& from,
                       std::span<const size_t> dropped) {
  const std::vector<size_t> kept = kept_layers(from.config().num_hidden_layers, dropped);
  size_t at = 0;  // both lists are in the same order
  for (const ParamSpec& spec : from.list()) {
    if (spec.layer >= 0 && !std::binary_search(kept.begin(), kept.end(), static_cast<size_t>(spec.layer)))
      continue;
    const ParamSpec& target = to.list()[at++];
    if (target.role != spec.role || target.shape != spec.shape)
      fail("internal: pruned parameters are out of step");
    std::copy(from.values() + spec.offset, from.values() + spec.offset + spec.size(), to.values(target));
  }
  to.refresh();
}

void write_pruned(const fs::path& model, std::span<const size_t> dropped, const fs::path& out) {
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out))) {
    fail({.what = "exists already",
          .path = out.string(),
          .tensor = {},
          .offset = {},
          .line = {},
          .hint = "give a new folder with --out"});
  }
  ResidentWeights<float> source(read_config(model));
  load_weights(source, model);
  ResidentWeights<float> pruned(pruned_config(source.config(), dropped));
  copy_kept_weights(pruned, source, dropped);
  const DType stored = stored_dtype(model);
  TemporaryFolder folder(out);
  save_model(folder.path(), pruned.config(), pruned.list(), pruned.values(), stored);
  copy_tokenizer_files(model, folder.path());
  Transformer<float> source_model(source.config(), source);
  check_written(folder.path(), source_model, pruned, dropped, stored);
  folder.rename_to(out);
}

template void copy_kept_weights(ResidentWeights<double>&, const ResidentWeights<double>&,
                                std::span<const size_t>);
template void copy_kept_weights(ResidentWeights<float>&, const ResidentWeights<float>&,
                                std::span<const size_t>);
template void copy_kept_weights(ResidentWeights<bf16>&, const ResidentWeights<bf16>&,
                                std::span<const size_t>);

}  // namespace fathom
