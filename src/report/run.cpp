#include "report/run.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"
#include "report/json_fields.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& path, std::string what, std::string hint,
                         std::optional<uint64_t> line = {}) {
  fail({.what = std::move(what), .path = path.string(), .line = line, .hint = std::move(hint)});
}

std::string text_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  if (const auto* array = node.as_array()) {
    std::string out;
    for (const toml::node& item : *array) out += (out.empty() ? "" : ", ") + text_of(item);
    return out;
  }
  std::ostringstream out;  // Dates and times: the C locale's digits, as the stream is told.
  out.imbue(std::locale::classic());
  node.visit([&](const auto& value) { out << value; });
  return out.str();
}

/// Flattens `table` to "section.key" in the order of the file (toml++ sorts by name; lines tell the order).
void flatten(const toml::table& table, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& settings) {
  std::vector<std::pair<std::string, const toml::node*>> nodes;
  for (const auto& [key, node] : table) nodes.emplace_back(prefix + std::string(key.str()), &node);
  std::stable_sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) {
    return a.second->source().begin.line < b.second->source().begin.line;
  });
  for (const auto& [key, node] : nodes) {
    if (const toml::table* inner = node->as_table()) {
      flatten(*inner, key + ".", settings);
    } else {
      settings.emplace_back(key, text_of(*node));
    }
  }
}

void read_settings(const fs::path& path, RunRecord& run) {
  const std::string text = read_text_file(path);
  try {
    flatten(toml::parse(text, path.string()), "", run.settings);
  } catch (const toml::parse_error& e) {
    refuse(path, "is not TOML (" + std::string(e.description()) + ")", "was it edited by hand?",
           e.source().begin.line);
  }
  for (const auto& [key, value] : run.settings) {
    if (key == "norm") run.norm = value;
    if (key == "seed") run.seed = value;
    if (key == "data_fingerprint") run.data_fingerprint = value;
    if (key == "parameters") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), run.parameters);
      if (error != std::errc() || end != value.data() + value.size()) {
        refuse(path, "'parameters' is not a number", "it is the model's number of parameters");
      }
    }
  }
  if (run.norm.empty()) refuse(path, "has no 'norm'", "is it a run directory of fathom train?");
}

/// The model's shape belongs to what one wants to see side by side.
void read_shape(const fs::path& path, RunRecord& run) {
  if (!fs::exists(path)) return;
  const nlohmann::json config = read_json_file(path);
  const JsonFields fields(config, path);
  for (const char* key : {"num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
                          "num_key_value_heads", "vocab_size", "tie_word_embeddings"}) {
    const auto it = config.find(key);
    if (it != config.end() && it->is_primitive()) run.settings.emplace_back(key, it->dump());
  }
}

MetricRecord point_of(const JsonFields& fields) {
  return {.step = fields.whole("step"),
          .tokens = fields.whole("tokens"),
          .loss = fields.number("loss"),
          .lr = fields.number("lr"),
          .grad_norm = fields.number("grad_norm"),
          .tokens_per_second = fields.number("tokens_per_second"),
          .mfu = fields.number("mfu"),
          .val_loss = fields.number("val_loss"),
          .val_ppl = fields.number("val_ppl"),
          .val_loss_stderr = fields.number("val_loss_stderr"),
          .layer_variance = fields.numbers("layer_variance"),
          .layer_grad_norm = fields.numbers("layer_grad_norm")};
}

/// Two lines of one step, such as a step and its evaluation: what the later one has wins.
void merge(MetricRecord& into, const MetricRecord& later) {
  for (const auto field : {&MetricRecord::loss, &MetricRecord::lr, &MetricRecord::grad_norm,
                           &MetricRecord::tokens_per_second, &MetricRecord::mfu, &MetricRecord::val_loss,
                           &MetricRecord::val_ppl, &MetricRecord::val_loss_stderr}) {
    if (!std::isnan(later.*field)) into.*field = later.*field;
  }
  for (const auto list : {&MetricRecord::layer_variance, &MetricRecord::layer_grad_norm}) {
    if (!(later.*list).empty()) into.*list = later.*list;
  }
}

void add_point(std::vector<MetricRecord>& points, MetricRecord point) {
  while (!points.empty() && points.back().step > point.step) points.pop_back();
  if (!points.empty() && points.back().step == point.step) {
    merge(points.back(), point);
  } else {
    points.push_back(std::move(point));
  }
}

void read_metrics(const fs::path& path, RunRecord& run) {
  const std::string text = read_text_file(path);
  const size_t last = text.find_last_not_of(" \r\n");
  size_t layers = 0;
  uint64_t line_number = 0;
  for (size_t begin = 0; last != std::string::npos && begin <= last;) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \r") == std::string_view::npos) continue;
    const nlohmann::json object = parse_json_or_discard(line);
    if (object.is_discarded()) {
      if (begin <= last) refuse(path, "is not JSON", "delete the line, or train again", line_number);
      log_warning(
          fmt::format("{}:{}: the last line was cut short; it is ignored", path.string(), line_number));
      break;
    }
    const JsonFields fields(object, path, line_number);
    MetricRecord point = point_of(fields);
    for (const auto* list : {&point.layer_variance, &point.layer_grad_norm}) {
      if (list->empty()) continue;
      if (layers != 0 && list->size() != layers) {
        fields.refuse(fmt::format("has {} layers, an earlier line has {}", list->size(), layers));
      }
      layers = list->size();
    }
    add_point(run.points, std::move(point));
  }
  if (run.points.empty()) refuse(path, "has no step yet", "let the run reach its first step, then compare");
}

EvaluationRecord read_evaluation(const fs::path& path) {
  const nlohmann::json object = read_json_file(path);
  const JsonFields fields(object, path);
  EvaluationRecord out{.step = fields.whole("step"),
                       .tokens = fields.whole("tokens"),
                       .seq = fields.whole("seq"),
                       .val_loss = fields.number("val_loss"),
                       .val_ppl = fields.number("val_ppl"),
                       .val_loss_stderr = fields.number("val_loss_stderr"),
                       .data_fingerprint = fields.text("data_fingerprint"),
                       .nll = fields.numbers("nll"),
                       .count = fields.wholes("count")};
  if (out.nll.size() != out.count.size()) {
    fields.refuse(fmt::format("'nll' has {} sequences, 'count' has {}", out.nll.size(), out.count.size()));
  }
  if (std::all_of(out.count.begin(), out.count.end(), [](uint64_t n) { return n == 0; })) {
    fields.refuse("no token was scored");
  }
  return out;
}

void read_evaluations(const fs::path& folder, RunRecord& run) {
  std::error_code error;  // No folder: no evaluation yet.
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    // Other names, such as "step-100.json.tmp-77" of a run that is writing, are not ours to read.
    if (name.starts_with("step-") && name.ends_with(".json"))
      run.evaluations.push_back(read_evaluation(entry.path()));
  }
  std::sort(run.evaluations.begin(), run.evaluations.end(),
            [](const EvaluationRecord& a, const EvaluationRecord& b) { return a.step < b.step; });
}

}  // namespace

RunRecord load_run(const fs::path& folder) {
  RunRecord run;
  run.path = folder;
  const std::string hint = "give the --out folder of a fathom train";
  if (!fs::is_directory(folder))
    refuse(folder, fs::exists(folder) ? "is not a folder" : "no such folder or file",
           hint + ", or a file of fathom probe --json or fathom prune --sweep --json");
  for (const char* file : {"run.toml", "metrics.jsonl"}) {
    if (!fs::exists(folder / file))
      refuse(folder, fmt::format("is not a run directory (it has no {})", file), hint);
  }
  run.name = fs::canonical(folder).filename().string();
  read_settings(folder / "run.toml", run);
  read_shape(folder / "config.json", run);
  read_metrics(folder / "metrics.jsonl", run);
  read_evaluations(folder / "evals", run);
  if (const fs::path sweep = folder / "sweep.json"; fs::exists(sweep))
    run.sweep = read_sweep(read_json_file(sweep), sweep);
  if (const fs::path probe = folder / "probe.json"; fs::exists(probe))
    run.probe = read_probe(read_json_file(probe), probe);
  return run;
}

}  // namespace fathom
