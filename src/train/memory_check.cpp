#include "train/memory_check.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/format.h"
#include "train/trained_part.h"

namespace fathom {
namespace {

constexpr size_t kMostSuggestions = 3;

MemoryPlan plan_settings(const TrainSettings& s, const ModelConfig& config, bool evaluates,
                         bool packed = false) {
  const std::vector<ParamSpec> trained = trained_parameters(s, config);
  const MemoryOptions options{.recompute = s.recompute,
                              .bf16_state = s.optimizer_state == "bf16",
                              .trained = &trained,
                              .packed = packed,
                              .evaluates = evaluates,
                              .step_sequences = s.batch * s.grad_accum};
  return s.dtype == "bf16" ? plan_memory<bf16>(config, s.batch, s.seq, options)
                           : plan_memory<float>(config, s.batch, s.seq, options);
}

// Which of the three levers are pulled.
struct Change {
  bool recompute, bf16_state, batch;
  bool includes(const Change& o) const {
    return (recompute || !o.recompute) && (bf16_state || !o.bf16_state) && (batch || !o.batch);
  }
};

// From one lever to all of them.
constexpr Change kChanges[] = {{true, false, false}, {false, true, false}, {false, false, true},
                               {true, true, false},  {true, false, true},  {false, true, true},
                               {true, true, true}};

bool is_possible(const TrainSettings& s, const Change& c) {
  return !(c.recompute && s.recompute) && !(c.bf16_state && (s.resume || s.optimizer_state == "bf16")) &&
         !(c.batch && (s.resume || s.batch == 1));
}

std::string flags_of(const TrainSettings& s, const Change& c) {
  std::string text;
  if (c.recompute) text += " --recompute";
  if (c.bf16_state) text += " --optimizer-state bf16";
  if (c.batch) text += fmt::format(" --batch {} --grad-accum {}", s.batch, s.grad_accum);
  return text.substr(1);
}

class Advice {
 public:
  Advice(const RunPlan& plan, uint64_t available) : plan_(plan), available_(available) {}

  std::string text() {
    std::vector<Change> listed;
    std::string text;
    for (const Change& c : kChanges) {
      bool known = false;  // a change that is listed does not get better by more of them
      for (const Change& l : listed) known = known || c.includes(l);
      if (known || listed.size() == kMostSuggestions || !is_possible(plan_.settings, c)) continue;
      const auto [settings, total] = best(c);
      smallest_ = flags_of(settings, c) + " takes " + bytes_text(total);
      if (total > available_) continue;
      text += fmt::format("{}{} ({})", text.empty() ? "would fit: " : ", or ", flags_of(settings, c),
                          bytes_text(total));
      listed.push_back(c);
    }
    if (!text.empty()) return text;
    return (smallest_.empty() ? "" : "even " + smallest_ + "; ") + "give a smaller --seq, or a smaller model";
  }

 private:
  // The settings under a change, with the largest batch that fits, or else a batch of one.
  std::pair<TrainSettings, uint64_t> best(const Change& c) const {
    TrainSettings s = plan_.settings;
    if (c.recompute) s.recompute = true;
    if (c.bf16_state) s.optimizer_state = "bf16";
    if (!c.batch) return {s, total(s)};
    const uint64_t sequences = s.batch * s.grad_accum, most = s.batch;
    for (s.batch = most / 2; s.batch > 0; --s.batch) {
      if (most % s.batch != 0) continue;
      s.grad_accum = sequences / s.batch;
      if (const uint64_t bytes = total(s); bytes <= available_ || s.batch == 1) return {s, bytes};
    }
    return {s, total(s)};
  }

  uint64_t total(const TrainSettings& s) const {
    return plan_settings(s, plan_.config, plan_.eval_sequences > 0).total();
  }

  const RunPlan& plan_;
  uint64_t available_;
  std::string smallest_;  // the furthest change that was tried
};

}  // namespace

MemoryPlan plan_packed_if_it_fits(const std::function<MemoryPlan(bool packed)>& plan, uint64_t available) {
  const MemoryPlan packed = plan(true);
  return packed.total() <= available ? packed : plan(false);
}

MemoryPlan plan_run_memory(const RunPlan& plan, uint64_t available) {
  const bool evaluates = plan.eval_sequences > 0;
  return plan_packed_if_it_fits(
      [&](bool packed) { return plan_settings(plan.settings, plan.config, evaluates, packed); }, available);
}

std::string memory_parts(const MemoryPlan& m) {
  std::string text;
  const auto add = [&](const char* name, size_t bytes) {
    if (bytes > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, bytes_text(bytes));
  };
  add("parameters", m.parameters);
  add("packed weights", m.packed);
  add("gradients", m.gradients);
  add("optimizer", m.optimizer);
  add("activations", m.activations);
  add("logits", m.logits);
  add("evaluation", m.evaluation);
  add("scratch", m.scratch);
  return text;
}

void require_memory(const MemoryPlan& m, uint64_t available, const std::string& hint) {
  if (m.total() <= available) return;
  fail(fmt::format("a training step takes {} ({}), only {} are available", bytes_text(m.total()),
                   memory_parts(m), bytes_text(available)),
       hint);
}

void check_memory(const RunPlan& plan, uint64_t available) {
  const MemoryPlan m = plan_run_memory(plan, available);
  if (m.total() > available) require_memory(m, available, Advice(plan, available).text());
}

}  // namespace fathom
