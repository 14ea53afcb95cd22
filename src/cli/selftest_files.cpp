// Checks (e) and (f) of the proof kit: a resumed run has the bits of a straight one, and what is written,
// read back, computes what it did, as a checkpoint and as an export.

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <unistd.h>

#include "cli/selftest_checks.h"
#include "io/checkpoint.h"
#include "io/export.h"
#include "model/tiny_model.h"
#include "probe/divergence.h"
#include "train/checkpoints.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

// A folder that goes with the check.
class Scratch {
 public:
  Scratch() : path_(fs::temp_directory_path() / ("fathom-selftest-" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// (e) Saved, loaded and continued gives the bits of going straight on.
template <class W>
bool resumes_bit_for_bit(const Scratch& scratch) {
  const ModelConfig config = tiny_config(NormType::kLns);
  const auto train = [&](TinyModel<W>& m, AdamW<float>& optimizer, int steps, uint64_t first) {
    Gradients<float> gradients(m.model.config(), m.weights.list());
    for (int s = 0; s < steps; ++s) {
      gradients.zero();
      const TinyBatch data(2, 8, config.vocab_size, first + static_cast<uint64_t>(s));
      m.model.forward_backward(data.view(), gradients, 1.0 / 16);
      optimizer.update(m.weights.values(), m.weights.copy(), gradients.values(), 1e-2, 1.0);
    }
  };
  TinyModel<W> straight(config), resumed(config, 99);
  AdamW<float> a(straight.weights.list(), {}), b(resumed.weights.list(), {});
  train(straight, a, 3, 10);
  const fs::path folder = scratch.path() / std::string(dtype_name(dtype_of<W>()));
  Checkpoints checkpoints(folder, scratch.path(), dtype_of<W>() == DType::kBf16 ? DType::kBf16 : DType::kF32,
                          1);
  TrainState state;
  state.step = 3;
  // Both outlive what shares them here.
  const auto trainee_of = [](TinyModel<W>& m) {
    return WholeModel<W>(std::shared_ptr<ResidentWeights<W>>(std::shared_ptr<void>(), &m.weights),
                         m.weights.list());
  };
  WholeModel<W> saved_model = trainee_of(straight), loaded_model = trainee_of(resumed);
  const fs::path saved = checkpoints.save(state, saved_model, a);
  load_training_state(saved, loaded_model, b);
  train(straight, a, 3, 13);
  train(resumed, b, 3, 13);
  return std::memcmp(straight.weights.values(), resumed.weights.values(),
                     straight.weights.count() * sizeof(float)) == 0;
}

CheckResult resume_is_exact() {
  const Scratch scratch;
  const bool fp32 = resumes_bit_for_bit<float>(scratch), half = resumes_bit_for_bit<bf16>(scratch);
  return {fp32 && half, fmt::format("3 steps, save, load, 3 steps: fp32 {}, bf16 {}",
                                    fp32 ? "equal" : "DIFFERENT", half ? "equal" : "DIFFERENT")};
}

// Where the model in `folder` parts from m, on a few tokens.
Divergence divergence_of(TinyModel<float>& m, TinyModel<float>& other, double tolerance) {
  const TinyBatch data(1, 9, m.model.config().vocab_size);
  return find_divergence(m.model, m.weights, other.model, other.weights, TokenSequences{data.tokens}, 1,
                         tolerance);
}

// (f) Written and read back, each place of the forward has the bits that were saved. The scale is in no file:
// it is computed from l.
CheckResult checkpoint_round_trip(NormType type) {
  const Scratch scratch;
  TinyModel<float> m(tiny_config(type));
  save_model(scratch.path(), m.model.config(), m.weights.list(), m.weights.values(), DType::kF32);
  TinyModel<float> back(read_config(scratch.path()), 99);
  load_weights(back.weights, scratch.path());
  const Divergence d = divergence_of(m, back, 0.0);
  return {!d.first.has_value() && d.tensors.empty(),
          d.first ? "first divergence at " + d.first->text() : "every place of the forward equal"};
}

struct ExportForm {
  const char* name;
  ExportFormat format;
  bool fold;
};

// (f) Exported and read back, each place of the forward is the source's: exactly, or where a scheme is folded
// into the weights but for their one rounding. A weight of block 3 that is another is found there.
CheckResult exports_compute_the_source(NormType type) {
  std::vector<ExportForm> forms{{"folder", ExportFormat::kHuggingFace, false}};
  if (type == NormType::kPre) forms.push_back({"a.gguf", ExportFormat::kGguf, false});
  if (type == NormType::kLns || type == NormType::kLayerScale) {
    forms.push_back({"folded", ExportFormat::kHuggingFace, true});
    forms.push_back({"folded.gguf", ExportFormat::kGguf, true});
  }
  const Scratch scratch;
  TinyModel<float> m(tiny_config(type));
  fs::create_directories(scratch.path() / "source");
  save_model(scratch.path() / "source", m.model.config(), m.weights.list(), m.weights.values(), DType::kF32);
  std::string done;
  for (const ExportForm& form : forms) {
    const fs::path out = scratch.path() / form.name;
    ExportOptions options;
    options.format = form.format;
    options.fold = form.fold;
    export_model(scratch.path() / "source", out, options);
    TinyModel<float> back(read_config(out), 99);
    load_weights(back.weights, out);
    const double tolerance = form.fold ? 1e-5 : 0.0;
    if (const Divergence d = divergence_of(m, back, tolerance); d.first)
      return {false, fmt::format("{}: first divergence at {}", form.name, d.first->text())};
    for (const ParamSpec& spec : back.weights.list()) {
      if (spec.layer == 2 && spec.role == ParamRole::kUp) back.weights.values(spec)[5] += 1;
    }
    const Divergence planted = divergence_of(m, back, tolerance);
    if (!planted.first || planted.first->text() != "layer 3, MLP")
      return {false, fmt::format("{}: a fault planted in the MLP of layer 3 is not found there", form.name)};
    done += (done.empty() ? "" : ", ") + std::string(form.name);
  }
  return {true, done + ": no block diverges, and a planted fault is named"};
}

}  // namespace

std::vector<SelfCheck> file_checks() {
  std::vector<SelfCheck> checks;
  for (const std::string& name : norm_names()) {
    const NormType type = parse_norm(name);
    checks.push_back(
        {name + ": a checkpoint computes what was saved", [type] { return checkpoint_round_trip(type); }});
    checks.push_back(
        {name + ": an export computes its source", [type] { return exports_compute_the_source(type); }});
  }
  checks.push_back({"a resumed run has the bits of a straight one", resume_is_exact});
  return checks;
}

}  // namespace fathom::cli
