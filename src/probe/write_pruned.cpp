#include "probe/write_pruned.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "core/file.h"
#include "core/temporary_path.h"
#include "io/adapter.h"
#include "io/gguf_model.h"
#include "io/io_error.h"
#include "io/json_text.h"
#include "io/modeling_fathom.h"
#include "io/safetensors.h"
#include "io/streamed_weights.h"
#include "model/logit_deviation.h"
#include "probe/prune.h"
#include "probe/rounded_weights.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The source: its parameters' values, read as they are needed, and, where it is no GGUF file, its tensors as
// they are stored. Opening it checks all of it that headers say.
struct Source {
  explicit Source(const fs::path& path_)
      : path(path_),
        gguf(is_gguf(path_)),
        config(read_config(path_)),
        list(parameter_list(config)),
        values(path_, config, list) {
    if (gguf) return;
    store = open_tensor_store(path);
    block = read_block_shape(path);
  }

  fs::path path;
  bool gguf;
  ModelConfig config;
  std::vector<ParamSpec> list;
  StoredParameters values;
  std::unique_ptr<TensorStore> store;
  BlockShape block;
};

// A tensor of the pruned checkpoint and where its bytes come from: a file as they are, or the source's values
// converted.
struct Piece {
  std::string name;
  StoredType type;
  std::vector<size_t> shape;
  const TensorView* raw = nullptr;
  const ParamSpec* converted = nullptr;  // in the source
  fs::path from = {};                    // the source's file

  uint64_t size_bytes() const {
    return raw != nullptr ? raw->size_bytes : converted->size() * stored_type_info(type).block_bytes;
  }
};

uint64_t bytes_of(const std::vector<Piece>& pieces) {
  uint64_t bytes = 0;
  for (const Piece& piece : pieces) bytes += piece.size_bytes();
  return bytes;
}

// Calls fn(const void* data, size_t bytes) with all of the piece's bytes.
template <class Fn>
void with_bytes(const Piece& piece, const Source& source, const Storage& storage, const Fn& fn) {
  if (piece.raw != nullptr) {
    fn(piece.raw->data, piece.raw->size_bytes);
    piece.raw->drop();
    return;
  }
  std::vector<float> values(piece.converted->size());
  source.values.read(values.data(), *piece.converted);
  const std::vector<std::byte> bytes = storage.encode(values, *piece.converted);
  fn(bytes.data(), bytes.size());
}

std::vector<Piece> pieces_of(const Source& source, const ModelConfig& pruned, std::span<const size_t> dropped,
                             StoreAs as, const Storage& storage) {
  const std::vector<size_t> kept = kept_layers(source.config.num_hidden_layers, dropped);
  const std::vector<ParamSpec> targets = parameter_list(pruned);
  std::vector<Piece> pieces;
  size_t at = 0;  // both lists are in the same order
  for (const ParamSpec& spec : source.list) {
    if (spec.layer >= 0 && !std::binary_search(kept.begin(), kept.end(), static_cast<size_t>(spec.layer)))
      continue;
    const ParamSpec& target = targets[at++];
    if (target.role != spec.role || target.shape != spec.shape)
      fail("internal: pruned parameters are out of step");
    Piece piece{.name = target.name, .type = storage.type, .shape = spec.shape};
    StoredWeight stored;
    if (!source.gguf) {
      stored = find_weight(*source.store, spec.name, source.block);
      piece.from = stored.tensor->path();
    }
    if (as != StoreAs::kSource || source.gguf) {
      piece.converted = &spec;
      pieces.push_back(piece);
      continue;
    }
    piece.type = stored.tensor->type;
    piece.raw = stored.tensor;
    pieces.push_back(piece);
    if (stored.scales == nullptr) continue;
    pieces.push_back({.name = target.name + "_scale_inv",
                      .type = stored.scales->type,
                      .shape = stored.scales->shape,
                      .raw = stored.scales,
                      .from = stored.scales->path()});
  }
  return pieces;
}

// Writes all pieces, those of one source file into one file. Returns how many files there are.
size_t write_pieces(const fs::path& folder, const std::vector<Piece>& pieces, const Source& source,
                    const Storage& storage, Progress* progress) {
  CountedWork work(progress, "write", bytes_of(pieces), "bytes");
  std::map<fs::path, std::vector<const Piece*>> shards;
  for (const Piece& piece : pieces) shards[piece.from].push_back(&piece);
  json weight_map = json::object();
  uint64_t total = 0;
  size_t number = 0;
  for (const auto& [from, shard] : shards) {
    const std::string name = shards.size() == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", ++number, shards.size());
    std::vector<SafetensorsWriter::Entry> entries;
    for (const Piece* piece : shard) entries.push_back({piece->name, piece->type, piece->shape});
    SafetensorsWriter file(folder / name, entries, {{"format", "pt"}});
    for (const Piece* piece : shard) {
      with_bytes(*piece, source, storage, [&](const void* data, size_t bytes) {
        file.write(data, bytes);
        total += bytes;
        work.add(bytes);
      });
      weight_map[piece->name] = name;
    }
    file.commit();
  }
  if (shards.size() > 1) {
    write_text_file(folder / "model.safetensors.index.json",
                    json{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}}.dump(2) + "\n");
  }
  return shards.size();
}

// Every tensor that was written must be there, byte for byte, and nothing else. Returns their bytes.
uint64_t check_pieces(const fs::path& folder, const std::vector<Piece>& pieces, const Source& source,
                      const Storage& storage, Progress* progress) {
  CountedWork work(progress, "read back", bytes_of(pieces), "bytes");
  const std::unique_ptr<TensorStore> store = open_tensor_store(folder);
  uint64_t total = 0;
  for (const Piece& piece : pieces) {
    const TensorView& written = store->at(piece.name);
    bool same = written.type == piece.type && written.shape == piece.shape;
    with_bytes(piece, source, storage, [&](const void* data, size_t bytes) {
      same = same && bytes == written.size_bytes && std::memcmp(written.data, data, bytes) == 0;
      total += bytes;
      work.add(bytes);
    });
    if (!same) {
      fail_tensor(written.path(), piece.name, "reads back differently from what was written", written.offset,
                  "is the disk sound?");
    }
    written.drop();
  }
  if (store->tensors().size() != pieces.size()) fail("internal: the pruned checkpoint has tensors too many");
  return total;
}

// Read back, a config.json must describe the model that was meant: sizes, scheme, indices, windows,
// rotations.
void require_as_meant(const ModelConfig& read_back, const ModelConfig& pruned, const fs::path& path) {
  const json meant = config_to_json(pruned, DType::kF32), read = config_to_json(read_back, DType::kF32);
  for (const auto& [key, value] : meant.items()) {
    if (read.contains(key) && read[key] == value) continue;
    fail_file(path, "'" + key + "' reads back as " + (read.contains(key) ? read[key].dump() : "nothing") +
                        ", meant was " + value.dump());
  }
}

json make_config(const fs::path& model, const ModelConfig& config, std::span<const size_t> dropped,
                 StoreAs as) {
  const ModelConfig pruned = pruned_config(config, dropped);
  if (is_gguf(model)) return config_to_json(pruned, as == StoreAs::kBf16 ? DType::kBf16 : DType::kF32);
  const fs::path path = model / "config.json";
  return pruned_config_json(parse_json_object(read_text_file(path, kMaxConfigBytes), path), config, dropped,
                            as);
}

void write_config(const fs::path& folder, const Source& source, const ModelConfig& pruned,
                  std::span<const size_t> dropped, StoreAs as) {
  const json config = make_config(source.path, source.config, dropped, as);
  write_text_file(folder / "config.json", config.dump(2) + "\n");
  if (config.value("model_type", "") == "fathom")
    write_text_file(folder / "modeling_fathom.py", kModelingFathom);
  require_as_meant(read_config(folder), pruned, folder / "config.json");
}

// What a model computes from the tokens of a trial: the embedding and the streams after each layer, and the
// logits.
struct Trace {
  std::vector<std::vector<float>> streams;
  std::vector<float> logits;
};

Trace trace_of(WeightSource<float>& weights, const ModelConfig& config, std::span<const size_t> dropped,
               CountedWork& compared) {
  Transformer<float> model(config, weights);
  const size_t n = trial_rows(config) * config.hidden_size;
  Trace trace;
  const Observer<float> keep = [&](const Tap<float>& tap) {
    if (tap.point != TapPoint::kAttention) trace.streams.emplace_back(tap.after, tap.after + n);
    if (tap.point == TapPoint::kMlp) compared.add(1);
  };
  std::vector<size_t> positions;
  for (const size_t l : dropped) positions.push_back(l - 1);
  trace.logits = trial_logits(model, program_without<float>(config.num_hidden_layers, positions), keep);
  return trace;
}

// One layer, or the head, in memory at a time: each is needed once.
Trace trace_of(const fs::path& model, const ModelConfig& config, std::span<const size_t> dropped,
               CountedWork& compared) {
  StreamedWeights<float> weights(model, config, 0);
  return trace_of(weights, config, dropped, compared);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void check_computes(const fs::path& folder, const Trace& expected, CountedWork& compared) {
  const ModelConfig config = read_config(folder);
  const Trace found = trace_of(folder, config, {}, compared);
  const std::vector<LayerPlan> plans = layer_plans(config.norm, config.num_hidden_layers);
  for (size_t l = 0; l < expected.streams.size(); ++l) {
    if (l < found.streams.size() && same_bits(found.streams[l], expected.streams[l])) continue;
    fail_file(folder, l == 0 ? std::string("the embedding of the pruned model differs from the source's")
                             : "layer " + std::to_string(l) +
                                   " of the pruned model computes something else than layer " +
                                   std::to_string(plans[l - 1].index) + " of the original");
  }
  if (!same_bits(found.logits, expected.logits))
    fail_file(folder, "the logits of the pruned model differ from those of the source without the layers");
}

}  // namespace

StoreAs parse_store(const std::string& name) {
  if (name == "source") return StoreAs::kSource;
  if (name == "f32") return StoreAs::kF32;
  if (name == "bf16") return StoreAs::kBf16;
  usage_error("unknown --store '" + name + "'", "known: source, f32, bf16");
}

void require_prunable(const fs::path& model, const fs::path& out) {
  require_free(out);
  if (is_adapter(model)) {
    fail({.what = "is an adapter, and the layers of its base can't be left out of it",
          .path = model.string(),
          .hint = "fathom merge it into its base, and prune that"});
  }
}

void require_prunable(const fs::path& model, const fs::path& out, std::span<const size_t> dropped,
                      StoreAs store) {
  require_prunable(model, out);
  const ModelConfig config = read_config(model);
  const fs::path path = out / "config.json";
  require_as_meant(config_from_json(make_config(model, config, dropped, store), path.string()),
                   pruned_config(config, dropped), path);
}

WrittenCheckpoint write_pruned(const fs::path& model, std::span<const size_t> dropped, const fs::path& out,
                               StoreAs store, const std::function<void(const fs::path&)>& also,
                               Progress* progress) {
  require_prunable(model, out);
  const Source source(model);
  const Storage storage{.type = store == StoreAs::kBf16 ? StoredType::kBf16 : StoredType::kF32,
                        .norm_offset = source.config.norm_weight_offset};
  WrittenCheckpoint written{.config = pruned_config(source.config, dropped)};
  TemporaryPath folder(out);
  std::error_code error;
  fs::create_directories(folder.path(), error);
  if (error) fail_file(folder.path(), "can't be made: " + error.message());
  write_config(folder.path(), source, written.config, dropped, store);
  const std::vector<Piece> pieces = pieces_of(source, written.config, dropped, store, storage);
  written.files = write_pieces(folder.path(), pieces, source, storage, progress);
  if (!source.gguf) copy_tokenizer_files(model, folder.path());
  if (also) also(folder.path());

  written.size_bytes = check_pieces(folder.path(), pieces, source, storage, progress);
  const bool converted = pieces[0].converted != nullptr;  // then all are
  CountedWork compared(progress, "compare", (converted ? 3 : 2) * written.config.num_hidden_layers, "layers");
  Trace expected = trace_of(source.path, source.config, dropped, compared);
  if (converted) {
    RoundedWeights as_stored(source.values, source.list, storage);
    Trace rounded = trace_of(as_stored, source.config, dropped, compared);
    written.rounding = logit_deviation(rounded.logits, expected.logits);
    expected = std::move(rounded);
  }
  check_computes(folder.path(), expected, compared);
  folder.commit();
  return written;
}

}  // namespace fathom
