#include "report/run_summary.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace fathom {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return kMissing;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace

std::vector<ValidationPoint> validations(const RunRecord& run) {
  std::map<uint64_t, ValidationPoint> by_step;
  const auto add = [&](const auto& source) {
    if (std::isnan(source.val_loss)) return;
    ValidationPoint& v = by_step[source.step];
    v.step = source.step;
    v.tokens = source.tokens;
    v.loss = source.val_loss;
    v.perplexity = std::isnan(source.val_ppl) ? std::exp(source.val_loss) : source.val_ppl;
    if (!std::isnan(source.val_loss_stderr)) v.loss_stderr = source.val_loss_stderr;
    v.perplexity_stderr = v.perplexity * v.loss_stderr;
  };
  for (const MetricRecord& point : run.points) add(point);
  for (const EvaluationRecord& evaluation : run.evaluations) add(evaluation);
  std::vector<ValidationPoint> out;
  for (const auto& [step, validation] : by_step) out.push_back(validation);
  return out;
}

RunSummary summarize(const RunRecord& run) {
  RunSummary out;
  out.step = run.points.back().step;
  out.tokens = run.points.back().tokens;
  const std::vector<ValidationPoint> all = validations(run);
  if (!all.empty()) out.validation = all.back();
  std::vector<double> speeds;
  for (const MetricRecord& point : run.points) {
    if (!std::isnan(point.tokens_per_second)) speeds.push_back(point.tokens_per_second);
    if (point.layer_variance.empty()) continue;
    out.variance_first = point.layer_variance.front();
    out.variance_last = point.layer_variance.back();
  }
  out.tokens_per_second = median(std::move(speeds));
  if (run.sweep) {
    out.layers = run.sweep->removed.size();
    out.effective_depth = run.sweep->effective_depth;
    out.effective_depth_ratio = run.sweep->effective_depth_ratio;
  }
  return out;
}

}  // namespace fathom
