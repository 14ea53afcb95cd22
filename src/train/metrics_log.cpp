#include "train/metrics_log.h"

#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_errno(const fs::path& path, int error) {
  fail({.what = "cannot append: " + std::string(std::strerror(error)),
        .path = path.string(),
        .hint = error == ENOSPC || error == EFBIG ? "free some space, then train again with --resume" : ""});
}

// Keeps the lines of steps up to `step`.
void truncate_lines(const fs::path& path, uint64_t step) {
  if (!fs::exists(path)) return;
  const std::string text = read_text_file(path, size_t{1} << 34);
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string_view line(text.data() + begin, end + 1 - begin);
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool has_step = json.is_object() && json.contains("step") && json["step"].is_number_unsigned();
    if (has_step && json["step"].get<uint64_t>() <= step) kept += line;
    begin = end + 1;
  }
  if (kept != text) write_text_file(path, kept);
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
  if (fd_ < 0) fail_errno(path_, errno);
}

MetricsLog::~MetricsLog() {
  if (fd_ >= 0) ::close(fd_);
}

void MetricsLog::add(const StepMetrics& m) {
  nlohmann::ordered_json line = {
      {"step", m.step}, {"tokens", m.tokens},       {"loss", m.loss},
      {"lr", m.lr},     {"grad_norm", m.grad_norm}, {"tokens_per_second", m.tokens_per_second},
      {"mfu", m.mfu}};
  std::vector<EventWriter::Scalar> scalars = {{"train/loss", m.loss},
                                              {"train/lr", m.lr},
                                              {"train/grad_norm", m.grad_norm},
                                              {"train/tokens_per_second", m.tokens_per_second},
                                              {"train/mfu", m.mfu}};
  if (m.validation) {
    line["val_loss"] = m.validation->mean();
    line["val_ppl"] = m.validation->perplexity();
    line["val_loss_stderr"] = m.validation->standard_error();
    scalars.emplace_back("val/loss", m.validation->mean());
    scalars.emplace_back("val/ppl", m.validation->perplexity());
  }
  if (!m.layer_variance.empty()) {
    line["layer_variance"] = m.layer_variance;
    line["layer_grad_norm"] = m.layer_grad_norm;
    for (size_t l = 0; l < m.layer_variance.size(); ++l) {
      scalars.emplace_back(fmt::format("layer_variance/{:03}", l + 1), m.layer_variance[l]);
      scalars.emplace_back(fmt::format("layer_grad_norm/{:03}", l + 1), m.layer_grad_norm[l]);
    }
  }
  const std::string text = line.dump() + "\n";
  const ssize_t n = ::write(fd_, text.data(), text.size());
  if (n != static_cast<ssize_t>(text.size())) fail_errno(path_, n < 0 ? errno : ENOSPC);
  events_.add(m.step, scalars);
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
