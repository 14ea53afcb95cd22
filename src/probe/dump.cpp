#include "probe/dump.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "probe/sequence_batches.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// "7" or "5-8"; nothing where it is neither, or runs backwards.
std::optional<std::pair<size_t, size_t>> parse_range(const std::string& text) {
  const auto number = [](std::string_view digits) -> std::optional<size_t> {
    size_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return {};
    return value;
  };
  const size_t dash = text.find('-');
  const auto first = number(std::string_view(text).substr(0, dash));
  const auto last = dash == std::string::npos ? first : number(std::string_view(text).substr(dash + 1));
  if (!first || !last || *last < *first) return {};
  return std::pair{*first, *last};
}

struct NamedPoint {
  const char* name;
  DumpPoint point;
  const char* suffix;
};
constexpr NamedPoint kPoints[] = {{"attn", DumpPoint::kAttention, ".attn"},
                                  {"attn_update", DumpPoint::kAttentionUpdate, ".attn_update"},
                                  {"mlp_update", DumpPoint::kMlpUpdate, ".mlp_update"},
                                  {"mlp", DumpPoint::kLayer, ""},
                                  {"layer", DumpPoint::kLayer, ""}};

std::vector<size_t> parse_layer_list(const std::string& text, size_t num_layers) {
  std::vector<size_t> layers;
  if (text == "all") {
    layers.resize(num_layers + 1);
    std::iota(layers.begin(), layers.end(), size_t{0});
    return layers;
  }
  for (const std::string& part : split(text)) {
    if (part == "embedding") {
      layers.push_back(0);
      continue;
    }
    const auto range = parse_range(part);
    if (!range || range->first == 0 || range->second > num_layers) {
      usage_error("--layers '" + text + "': '" + part + "' is no layer or range of layers of this model",
                  "give all, embedding, or layers of 1.." + std::to_string(num_layers) + " such as 1,5-8");
    }
    for (size_t l = range->first; l <= range->second; ++l) layers.push_back(l);
  }
  std::sort(layers.begin(), layers.end());
  layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
  return layers;
}

// Whether a tap shows an entry, and its values at one row.
bool shows(TapPoint point, size_t layer, const DumpEntry& entry) {
  if (entry.layer == 0) return point == TapPoint::kEmbedding;
  if (entry.layer != layer + 1 || point == TapPoint::kEmbedding) return false;
  const bool attention = entry.point == DumpPoint::kAttention || entry.point == DumpPoint::kAttentionUpdate;
  return point == (attention ? TapPoint::kAttention : TapPoint::kMlp);
}

bool is_update(DumpPoint point) {
  return point == DumpPoint::kAttentionUpdate || point == DumpPoint::kMlpUpdate;
}

// The file: each entry's rows lie one behind the other from a place known beforehand.
class DumpFile {
 public:
  DumpFile(const fs::path& path, const std::vector<DumpEntry>& entries, size_t rows, size_t C)
      : file_(path),
        row_bytes_(C * sizeof(float)),
        entry_bytes_(rows * row_bytes_),
        entries_(entries.size()) {
    if (path.extension() == ".npy") {
      begin_ = write_header(npy_header_f32({entries.size(), rows, C}));
      return;
    }
    if (path.extension() != ".safetensors")
      usage_error("--out " + path.string() + " is neither a .npy nor a .safetensors file");
    std::vector<SafetensorsWriter::Entry> tensors;
    for (const DumpEntry& e : entries) tensors.push_back({e.name, StoredType::kF32, {rows, C}});
    for (const char* name : {"token_ids", "sequence", "position"})
      tensors.push_back({name, StoredType::kI64, {rows}});
    begin_ = write_header(safetensors_header(path, tensors, {{"format", "pt"}}).text);
    indexed_ = true;
  }

  void write_row(size_t entry, size_t row, const float* values) {
    file_.write_at(begin_ + entry * entry_bytes_ + row * row_bytes_, values, row_bytes_);
  }
  /// Which token a row is; for files that say so.
  void write_index(const TokenSequences& sequences, const std::vector<std::vector<size_t>>& positions) {
    if (!indexed_) return;
    std::vector<int64_t> ids, numbers, places;
    for (size_t s = 0; s < sequences.size(); ++s) {
      for (const size_t p : positions[s]) {
        ids.push_back(sequences[s][p]);
        numbers.push_back(static_cast<int64_t>(s));
        places.push_back(static_cast<int64_t>(p));
      }
    }
    uint64_t at = begin_ + entries_ * entry_bytes_;
    for (const auto* list : {&ids, &numbers, &places}) {
      file_.write_at(at, list->data(), list->size() * sizeof(int64_t));
      at += list->size() * sizeof(int64_t);
    }
  }
  void commit() { file_.commit(); }

 private:
  uint64_t write_header(const std::string& header) {
    file_.write(header);
    return header.size();
  }

  AtomicFile file_;
  size_t row_bytes_, entry_bytes_, entries_;
  uint64_t begin_ = 0;
  bool indexed_ = false;
};

}  // namespace

std::vector<DumpEntry> parse_dump_entries(const std::string& layers, const std::vector<std::string>& points,
                                          size_t num_layers) {
  std::vector<std::string> known;
  for (const NamedPoint& p : kPoints) known.emplace_back(p.name);
  for (const std::string& name : points) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      usage_error("--points: unknown point '" + name + "'",
                  "known: layer, attn, mlp, attn_update, mlp_update");
  }
  std::vector<DumpEntry> entries;
  for (const size_t l : parse_layer_list(layers, num_layers)) {
    if (l == 0) {
      entries.push_back({0, DumpPoint::kLayer, "embedding"});
      continue;
    }
    for (const NamedPoint& p : kPoints) {
      const bool wanted = std::find(points.begin(), points.end(), p.name) != points.end();
      const std::string name = "layer." + std::to_string(l) + p.suffix;
      if (wanted && (entries.empty() || entries.back().name != name)) entries.push_back({l, p.point, name});
    }
  }
  return entries;
}

std::vector<std::vector<size_t>> parse_positions(const std::string& text, const TokenSequences& sequences) {
  std::vector<std::pair<size_t, size_t>> ranges;
  const bool last = text == "last";
  if (text == "all") {
    ranges.emplace_back(0, SIZE_MAX);
  } else if (text == "first") {
    ranges.emplace_back(0, 0);
  } else if (!last) {
    for (const std::string& part : split(text)) {
      const auto range = parse_range(part);
      if (!range)
        usage_error("--positions '" + text + "': '" + part + "' is no position",
                    "give all, first, last, or positions from 0 such as 0,5-8");
      ranges.push_back(*range);
    }
  }
  std::vector<std::vector<size_t>> positions;
  size_t total = 0;
  for (const auto& ids : sequences) {
    std::vector<size_t>& list = positions.emplace_back();
    for (size_t p = last ? ids.size() - 1 : 0; p < ids.size(); ++p) {
      const auto holds = [p](const auto& range) { return p >= range.first && p <= range.second; };
      if (last || std::any_of(ranges.begin(), ranges.end(), holds)) list.push_back(p);
    }
    total += list.size();
  }
  if (total == 0) usage_error("--positions '" + text + "' is past the end of every sequence");
  return positions;
}

template <class W>
DumpResult dump_streams(Transformer<W>& model, const TokenSequences& sequences,
                        const std::vector<std::vector<size_t>>& positions,
                        const std::vector<DumpEntry>& entries, size_t batch_size, const fs::path& out,
                        Progress& progress) {
  using S = Stream<W>;
  const size_t C = model.config().hidden_size;
  DumpResult result;
  size_t highest = 0;
  for (const DumpEntry& e : entries) highest = std::max(highest, e.layer);
  for (const auto& list : positions) result.rows += list.size();
  DumpFile file(out, entries, result.rows, C);

  // SequenceBatches keeps the last id of a sequence as a target alone: one more id makes all of them inputs.
  TokenSequences inputs = sequences;
  for (auto& ids : inputs) ids.push_back(0);
  SequenceBatches batches(inputs, batch_size);
  const Program<S> program = whole_program<S>(highest);
  std::vector<float> row(C);
  size_t first_sequence = 0, first_row = 0, T = 0;
  const Observer<S> write = [&](const Tap<S>& tap) {
    for (size_t e = 0; e < entries.size(); ++e) {
      if (!shows(tap.point, tap.layer, entries[e])) continue;
      size_t r = first_row;
      for (size_t b = 0; b < batch_size && first_sequence + b < sequences.size(); ++b) {
        for (const size_t p : positions[first_sequence + b]) {
          const size_t at = (b * T + p) * C;
          for (size_t i = 0; i < C; ++i)
            row[i] = static_cast<float>(is_update(entries[e].point) ? tap.after[at + i] - tap.before[at + i]
                                                                    : tap.after[at + i]);
          file.write_row(e, r++, row.data());
        }
      }
    }
  };
  Buffer<S> x;
  progress.begin("dump", sequences.size(), "sequences");
  for (size_t i = 0; i < batches.count(); ++i) {
    const Batch batch = batches[i];
    T = batch.T;
    ensure(x, batch.rows() * C);
    model.embed(x.data(), batch, write);
    model.run(x.data(), program, batch, write);
    for (size_t b = 0; b < batch.B; ++b) first_row += positions[first_sequence + b].size();
    first_sequence += batch.B;
    progress.update(first_sequence);
  }
  progress.end();
  file.write_index(sequences, positions);
  file.commit();
  result.bytes = fs::file_size(out);
  result.shape = out.extension() == ".npy" ? std::vector<size_t>{entries.size(), result.rows, C}
                                           : std::vector<size_t>{result.rows, C};
  return result;
}

template DumpResult dump_streams(Transformer<float>&, const TokenSequences&,
                                 const std::vector<std::vector<size_t>>&, const std::vector<DumpEntry>&,
                                 size_t, const fs::path&, Progress&);
template DumpResult dump_streams(Transformer<bf16>&, const TokenSequences&,
                                 const std::vector<std::vector<size_t>>&, const std::vector<DumpEntry>&,
                                 size_t, const fs::path&, Progress&);

}  // namespace fathom
