#include "train/metrics_log.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_errno(const std::string& doing, const fs::path& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  fail({.what = "cannot " + doing + ": " + std::strerror(error),
        .path = path.string(),
        .hint = full ? "free some space, then train again with --resume" : ""});
}

struct Line {
  uint64_t step = 0;
  std::string_view text;  // with its end
  nlohmann::json json;
};

// Calls fn for each whole line of `text` that is one of a step.
template <class Fn>
void for_each_line(const std::string& text, const Fn& fn) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    Line line;
    line.text = std::string_view(text).substr(begin, end + 1 - begin);
    line.json = parse_json_or_discard(line.text);
    if (line.json.is_object() && line.json.contains("step") && line.json["step"].is_number_unsigned()) {
      line.step = line.json["step"].get<uint64_t>();
      fn(line);
    }
    begin = end + 1;
  }
}

std::string text_of_lines(const fs::path& path) {
  return fs::exists(path) ? read_text_file(path, size_t{1} << 34) : std::string();
}

// Keeps the lines of steps up to `step`.
void truncate_lines(const fs::path& path, uint64_t step) {
  const std::string text = text_of_lines(path);
  std::string kept;
  uint64_t last = 0;
  for_each_line(text, [&](const Line& line) {
    if (line.step > step) return;
    kept += line.text;
    last = line.step;
  });
  if (kept != text) write_text_file(path, kept);
  if (last < step) {
    log_warning(
        fmt::format("{}: ends with step {}, the run goes on after step {}: the lines between are lost",
                    path.string(), last, step));
  }
}

void remove_evaluations(const fs::path& folder, uint64_t step) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    uint64_t n = 0;
    const bool ours = name.starts_with("step-") &&
                      std::from_chars(name.data() + 5, name.data() + name.size(), n).ec == std::errc();
    if (ours && n > step) fs::remove(entry.path());
  }
}

}  // namespace

MetricsLog::MetricsLog(const fs::path& run, std::optional<uint64_t> resumed_at)
    : path_(run / "metrics.jsonl"), evals_(run / "evals"), events_(run / "tensorboard", resumed_at) {
  fs::create_directories(evals_);
  truncate_lines(path_, resumed_at.value_or(0));
  remove_evaluations(evals_, resumed_at.value_or(0));
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_errno("append", path_, errno);
  sync_folder(run);  // where the file is new
}

MetricsLog::~MetricsLog() {
  if (fd_ >= 0) ::close(fd_);
}

nlohmann::ordered_json metrics_to_json(const StepMetrics& m) {
  nlohmann::ordered_json line = {
      {"step", m.step}, {"tokens", m.tokens},       {"loss", m.loss},
      {"lr", m.lr},     {"grad_norm", m.grad_norm}, {"tokens_per_second", m.tokens_per_second},
      {"mfu", m.mfu}};
  if (m.validation) {
    line["val_loss"] = m.validation->mean();
    line["val_ppl"] = m.validation->perplexity();
    line["val_loss_stderr"] = m.validation->standard_error();
  }
  if (!m.layer_variance.empty()) {
    line["layer_variance"] = m.layer_variance;
    line["layer_grad_norm"] = m.layer_grad_norm;
  }
  return line;
}

StepMetrics metrics_from_json(const nlohmann::json& line) {
  const auto number = [](const nlohmann::json& value) {
    return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
  };
  StepMetrics m;
  m.step = line.at("step").get<uint64_t>();
  m.tokens = line.at("tokens").get<uint64_t>();
  m.loss = number(line.at("loss"));
  m.lr = number(line.at("lr"));
  m.grad_norm = number(line.at("grad_norm"));
  m.tokens_per_second = number(line.at("tokens_per_second"));
  m.mfu = number(line.at("mfu"));
  if (line.contains("layer_variance")) {
    for (const auto& value : line.at("layer_variance")) m.layer_variance.push_back(number(value));
    for (const auto& value : line.at("layer_grad_norm")) m.layer_grad_norm.push_back(number(value));
  }
  return m;
}

nlohmann::json metrics_line(const fs::path& run, uint64_t step) {
  nlohmann::json found;
  for_each_line(text_of_lines(run / "metrics.jsonl"), [&](const Line& line) {
    if (line.step == step) found = line.json;
  });
  return found;
}

void MetricsLog::add(const StepMetrics& m) {
  std::vector<EventWriter::Scalar> scalars = {{"train/loss", m.loss},
                                              {"train/lr", m.lr},
                                              {"train/grad_norm", m.grad_norm},
                                              {"train/tokens_per_second", m.tokens_per_second},
                                              {"train/mfu", m.mfu}};
  if (m.validation) {
    scalars.emplace_back("val/loss", m.validation->mean());
    scalars.emplace_back("val/ppl", m.validation->perplexity());
  }
  for (size_t l = 0; l < m.layer_variance.size(); ++l) {
    scalars.emplace_back(fmt::format("layer_variance/{:03}", l + 1), m.layer_variance[l]);
    scalars.emplace_back(fmt::format("layer_grad_norm/{:03}", l + 1), m.layer_grad_norm.at(l));
  }
  const std::string text = metrics_to_json(m).dump() + "\n";
  const ssize_t n = ::write(fd_, text.data(), text.size());
  if (n != static_cast<ssize_t>(text.size())) fail_errno("append", path_, n < 0 ? errno : ENOSPC);
  events_.add(m.step, scalars);
}

void MetricsLog::sync() {
  // A file system that can't flush says EINVAL or EROFS; whoever chose it knows.
  if (::fdatasync(fd_) != 0 && errno != EINVAL && errno != EROFS) fail_errno("flush", path_, errno);
  events_.sync();
}

void MetricsLog::add_evaluation(const StepMetrics& m, uint64_t seq, const std::string& data_fingerprint) {
  const SequenceLoss& loss = *m.validation;
  const nlohmann::ordered_json json = {{"step", m.step},
                                       {"tokens", m.tokens},
                                       {"val_loss", loss.mean()},
                                       {"val_ppl", loss.perplexity()},
                                       {"val_loss_stderr", loss.standard_error()},
                                       {"seq", seq},
                                       {"sequences", loss.nll.size()},
                                       {"data_fingerprint", data_fingerprint},
                                       {"nll", loss.nll},
                                       {"count", loss.count}};
  write_text_file(evals_ / fmt::format("step-{}.json", m.step), json.dump() + "\n");
}

}  // namespace fathom
