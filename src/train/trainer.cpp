#include "train/trainer.h"

#include <chrono>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/format.h"
#include "core/log.h"
#include "core/temporary_path.h"
#include "io/checkpoint.h"
#include "kernels/vector_ops.h"
#include "text/chat_template.h"
#include "train/layer_statistics.h"
#include "train/machine.h"
#include "train/memory_check.h"
#include "train/nonfinite.h"
#include "train/start_report.h"
#include "train/trained_part.h"

namespace fathom {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kPeakSeconds = 0.2;

DType stored_type(const TrainSettings& s) { return s.save_dtype == "bf16" ? DType::kBf16 : DType::kF32; }

Schedule schedule_of(const TrainSettings& s) {
  return {.kind = parse_schedule(s.schedule),
          .peak = s.lr,
          .min_ratio = s.min_lr_ratio,
          .steps = s.steps,
          .warmup = s.warmup,
          .decay_share = s.wsd_decay};
}

OptimizerSettings optimizer_of(const TrainSettings& s) {
  return {.beta1 = s.beta1,
          .beta2 = s.beta2,
          .eps = s.adam_eps,
          .weight_decay = s.weight_decay,
          .bf16_state = s.optimizer_state == "bf16",
          .seed = s.seed};
}

// Whose tokenizer files go into each checkpoint: the data folder's, or those that a run on examples keeps.
std::filesystem::path tokenizer_folder(const RunPlan& plan, const RunFolder& folder) {
  return plan.examples ? folder.tokenizer() : std::filesystem::path(plan.settings.data);
}

bool masks(const RunPlan& plan) { return plan.settings.mask_documents || plan.data->must_mask(); }

std::string tokens_rate(double rate) {
  return rate < 10000 ? fmt::format("{:.0f}", rate) : fmt::format("{:.1f}k", rate / 1000);
}

}  // namespace

template <class W>
Trainer<W>::Trainer(RunPlan& plan, RunFolder& folder, bool keeps_packed)
    : plan_(plan),
      settings_(plan.settings),
      folder_(folder),
      checkpoints_(folder.checkpoints(), tokenizer_folder(plan, folder), stored_type(settings_),
                   settings_.keep),
      schedule_(schedule_of(settings_)),
      trainee_(make_trainee(plan)),
      gradients_(plan.config, trainee_->trained()),
      optimizer_(trainee_->store().list(), trainee_->trained(), optimizer_of(settings_)),
      model_(plan.config, trainee_->source()),
      step_batch_(settings_.batch * settings_.grad_accum, settings_.seq, masks(plan)),
      eval_batch_(settings_.batch, settings_.seq, masks(plan)),
      flops_per_token_(trained_flops_per_token(plan.config, trainee_->trained(), settings_.seq)) {
  set_weights();
  if (keeps_packed) trainee_->keep_packed();
  check_constants(measure_constants(model_, trainee_->source()));
  const uint64_t kept = unfinished_ ? done_ - 1 : done_;
  metrics_ = std::make_unique<MetricsLog>(folder_.path(),
                                          settings_.resume ? std::optional<uint64_t>(kept) : std::nullopt);
}

template <class W>
std::unique_ptr<Trainee<W>> Trainer<W>::make_trainee(const RunPlan& plan) {
  const TrainSettings& s = plan.settings;
  if (plan.config.lora.rank > 0) return std::make_unique<AdaptedModel<W>>(plan.config, resolve_model(s.from));
  auto weights = std::make_shared<ResidentWeights<W>>(plan.config, parse_init(s.init));
  return std::make_unique<WholeModel<W>>(std::move(weights), trained_parameters(s, plan.config));
}

// The weights of --from; adapters stand beside them, and begin as initialize() says.
template <class W>
void Trainer<W>::load_source() {
  const std::filesystem::path source = resolve_model(settings_.from);
  trainee_->read(source);
  if (settings_.norm_init != "preserve") return;
  ParameterStore<W>& store = trainee_->store();
  for (const ParamSpec& spec : store.list()) preserve_function(store.values(spec), spec, plan_.config);
  store.refresh();
}

// Random weights, those of --from, or those of the last checkpoint, in which case the run stands where that
// does.
template <class W>
void Trainer<W>::set_weights() {
  const auto last = checkpoints_.last();
  if (!last) {
    if (settings_.from.empty() || plan_.config.lora.rank > 0) {
      ParameterStore<W>& store = trainee_->store();
      initialize(store.values(), store.list(), settings_.seed);
      store.refresh();
    } else {
      load_source();
    }
    if (settings_.resume) log_info("the run has no checkpoint yet: it starts from the beginning");
    return;
  }
  load_training_state(*last, *trainee_, optimizer_);
  const TrainState state = read_train_state(*last);
  done_ = saved_ = state.step;
  const nlohmann::json line = metrics_line(folder_.path(), done_);
  if (line.is_null() || (evaluates_after(done_) && !line.contains("val_loss"))) unfinished_ = state.metrics;
  log_info(
      fmt::format("resumed        after step {} of {}, from {}", done_, settings_.steps, last->string()));
}

template <class W>
bool Trainer<W>::is_due(uint64_t step, uint64_t every) const {
  return step == settings_.steps || (every > 0 && step % every == 0);
}

template <class W>
bool Trainer<W>::evaluates_after(uint64_t step) const {
  return plan_.eval_sequences > 0 && is_due(step, settings_.eval_every);
}

template <class W>
TrainResult Trainer<W>::run(Progress& progress, const std::atomic<bool>* stop) {
  TrainResult result{.step = done_,
                     .steps = settings_.steps,
                     .tokens = 0,
                     .parameters = plan_.facts.parameters,
                     .trained_parameters = parameter_count(trainee_->trained()),
                     .stopped = false,
                     .checkpoint = {},
                     .validation = {}};
  progress.begin("train", settings_.steps, "steps");
  if (unfinished_) finish_step(*unfinished_, stop, result);
  while (done_ < settings_.steps && !result.stopped) {
    StepMetrics metrics = train_step(done_ + 1);
    done_ = metrics.step;
    finish_step(metrics, stop, result);
    const std::string val_note =
        result.validation ? fmt::format("  val ppl {:.2f}", result.validation->perplexity()) : "";
    progress.update(done_, fmt::format("loss {:.4f}{}  {} tok/s", metrics.loss, val_note,
                                       tokens_rate(metrics.tokens_per_second)));
  }
  progress.end();
  folder_.log(
      fmt::format("{} after step {} of {}", result.stopped ? "stopped" : "done", done_, settings_.steps));
  result.step = done_;
  result.tokens = done_ * settings_.tokens_per_step();
  result.checkpoint = checkpoints_.last().value_or(std::filesystem::path());
  return result;
}

// What follows a step's update. An evaluation may take as long as many steps: a checkpoint that is due comes
// first, holds what the step's line will need, and whoever asks to stop does not wait.
template <class W>
void Trainer<W>::finish_step(StepMetrics& metrics, const std::atomic<bool>* stop, TrainResult& result) {
  const auto asked = [&] { return stop != nullptr && stop->load(); };
  const bool evaluates = evaluates_after(metrics.step);
  if (!evaluates) metrics_->add(metrics);
  if (is_due(metrics.step, settings_.save_every) || asked()) save(metrics);
  if (evaluates) {
    evaluate_into(metrics, stop);
    metrics_->add(metrics);
  }
  if (metrics.validation) result.validation = metrics.validation;
  result.stopped = asked() && (metrics.step < settings_.steps || (evaluates && !metrics.validation));
  if (result.stopped) save(metrics);
}

// One update: every micro-batch adds its gradients, scaled so that their sum is the gradient of the mean over
// all scored tokens of the step.
template <class W>
StepMetrics Trainer<W>::train_step(uint64_t step) {
  const Clock::time_point begin = Clock::now();
  StepMetrics m{.step = step,
                .tokens = step * settings_.tokens_per_step(),
                .loss = 0,
                .lr = learning_rate(schedule_, step),
                .grad_norm = 0,
                .tokens_per_second = 0,
                .mfu = 0,
                .validation = {},
                .layer_variance = {},
                .layer_grad_norm = {}};
  backward(m, settings_.probe_every > 0 && is_due(step, settings_.probe_every));
  if (!std::isfinite(m.loss)) stop_non_finite(step, "the loss is " + value_text(m.loss));
  if (!std::isfinite(m.grad_norm)) stop_non_finite(step, "the gradient's norm is " + value_text(m.grad_norm));
  ParameterStore<W>& store = trainee_->store();
  optimizer_.update(store.values(), store.copy(), gradients_.values(), m.lr,
                    clip_factor(m.grad_norm, settings_.clip));
  trainee_->pack();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  m.tokens_per_second = static_cast<double>(settings_.tokens_per_step()) / seconds;
  m.mfu = flops_per_token_ * m.tokens_per_second / (settings_.mfu_peak_tflops * 1e12);
  return m;
}

template <class W>
void Trainer<W>::backward(StepMetrics& m, bool probe) {
  const size_t B = settings_.batch, sequences = B * settings_.grad_accum;
  for (size_t b = 0; b < sequences; ++b)
    step_batch_.read_window(*plan_.data, b, (m.step - 1) * sequences + b);
  const auto scored = static_cast<double>(step_batch_.scored());
  LayerVariance variance(model_.plans().size(), plan_.config.hidden_size);
  const TrainOptions options{.recompute = settings_.recompute};
  gradients_.begin();
  for (size_t b = 0; b < sequences; b += B) {
    const Batch batch = step_batch_.view(b, B);
    const Observer<S> observer = probe ? variance.observer<S>(batch.rows()) : Observer<S>{};
    m.loss += model_.forward_backward(batch, gradients_, 1.0 / scored, options, observer);
  }
  m.loss /= scored;
  m.grad_norm = std::sqrt(sum_squares(gradients_.values(), gradients_.count()));
  if (!probe) return;
  m.layer_variance = variance.means();
  m.layer_grad_norm = layer_gradient_norms(trainee_->trained(), gradients_.values(), model_.plans().size());
}

template <class W>
void Trainer<W>::evaluate_into(StepMetrics& m, const std::atomic<bool>* stop) {
  m.validation = evaluate(model_, *plan_.data, eval_batch_, settings_.batch, plan_.eval_sequences, stop);
  if (!m.validation) return;
  metrics_->add_evaluation(m, settings_.seq, plan_.facts.data_fingerprint);
  const double error = m.validation->standard_error();  // NaN of a single sequence
  folder_.log(fmt::format("step {}: loss {:.4f}, validation loss {:.4f} +- {}, perplexity {:.3f}", m.step,
                          m.loss, m.validation->mean(),
                          std::isnan(error) ? "-" : fmt::format("{:.4f}", error),
                          m.validation->perplexity()));
}

// Weights that are no longer finite are not worth a checkpoint, and must not push out one that is.
template <class W>
void Trainer<W>::save(const StepMetrics& metrics) {
  const uint64_t step = metrics.step;
  if (saved_ == step) return;
  const ParameterStore<W>& store = trainee_->store();
  if (first_non_finite(store.values(), store.count()) < store.count())
    stop_non_finite(step, "the update made weights that are not finite");
  metrics_->sync();  // a checkpoint that survives a power cut stands on lines that do
  const TrainState state{.step = step,
                         .settings_fingerprint = plan_.settings_fingerprint,
                         .seed = settings_.seed,
                         .data_seed = settings_.data_seed,
                         .data_fingerprint = plan_.facts.data_fingerprint,
                         .metrics = metrics};
  const std::filesystem::path path = checkpoints_.save(state, *trainee_, optimizer_);
  saved_ = step;
  folder_.log("saved " + path.string());
}

template <class W>
void Trainer<W>::stop_non_finite(uint64_t step, const std::string& what) {
  std::string place;
  const ParameterStore<W>& store = trainee_->store();
  const size_t B = settings_.batch;
  for (size_t b = 0; b < B * settings_.grad_accum && place.empty(); b += B) {
    place = describe_non_finite(model_, store.list(), store.values(), trainee_->trained(),
                                gradients_.values(), step_batch_.view(b, B));
  }
  const auto last = checkpoints_.last();
  const std::string hint =
      last ? "the last good checkpoint is " + last->string() : "there is no checkpoint yet";
  const std::string message =
      fmt::format("step {}: {}{}", step, what, place.empty() ? "" : "; first not finite: " + place);
  folder_.log(message);
  fail(message, hint + "; try a smaller --lr, a longer --warmup, or --clip");
}

template class Trainer<float>;
template class Trainer<bf16>;

namespace {

// Into the run, so that it goes on, and its checkpoints open, without the model that it began with.
void keep_tokenizer(const ExampleInput& input, const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder);  // of a start that was killed, perhaps another model's
  TemporaryPath unfinished(folder, folder.string() + ".partial");
  std::filesystem::create_directories(unfinished.path());
  input.tokenizer.save(unfinished.path());
  if (input.chat != nullptr && !input.chat->is_fallback())
    write_text_file(unfinished.path() / "chat_template.jinja", input.chat->source());
  unfinished.commit();
}

// Before anything is written into the run's folder.
void require_same_settings(const RunPlan& plan, const RunFolder& folder) {
  const auto last = last_checkpoint(folder.checkpoints());
  if (!last) return;
  const TrainState saved = read_train_state(*last);
  if (saved.settings_fingerprint == plan.settings_fingerprint) return;
  const TrainSettings& s = plan.settings;
  std::string what = "was saved under other settings than run.toml and config.json say now";
  if (saved.data_seed.value_or(s.data_seed) != s.data_seed)
    what = fmt::format("was saved with data_seed {}, run.toml says {}", *saved.data_seed, s.data_seed);
  if (saved.seed.value_or(s.seed) != s.seed)
    what = fmt::format("was saved with seed {}, run.toml says {}", *saved.seed, s.seed);
  if (!saved.data_fingerprint.empty() && saved.data_fingerprint != plan.facts.data_fingerprint) {
    what = fmt::format("was saved on other data (fingerprint {}) than run.toml names ({})",
                       saved.data_fingerprint, plan.facts.data_fingerprint);
  }
  fail({.what = what,
        .path = last->string(),
        .hint = "undo the change in the run folder, or start a new run with --from"});
}

template <class W>
TrainResult train_in(RunPlan& plan, Progress& progress, const std::atomic<bool>* stop,
                     const ExampleInput* examples) {
  TrainSettings& s = plan.settings;
  const uint64_t available = available_memory().value_or(plan_run_memory(plan, UINT64_MAX).total());
  const uint64_t before = resident_memory();
  const MemoryPlan memory = plan_run_memory(plan, available);
  check_memory(plan, available);
  RunFolder folder(s.out, s.resume);
  require_same_settings(plan, folder);
  if (examples != nullptr && (!s.resume || !std::filesystem::exists(folder.tokenizer())))
    keep_tokenizer(*examples, folder.tokenizer());
  if (s.mfu_peak_tflops == 0) s.mfu_peak_tflops = measure_peak_tflops(dtype_of<W>(), kPeakSeconds);
  write_text_file(folder.run_toml(), format_run_toml(s, plan.facts));
  write_text_file(folder.config(), config_to_json(plan.config, stored_type(s)).dump(2) + "\n");
  const LogToRun log(folder);
  log_info(fmt::format("fathom {}, {}", plan.facts.fathom_version, utc_now()));
  report_run(plan, memory, available);
  Trainer<W> trainer(plan, folder, memory.packed > 0);
  const TrainResult result = trainer.run(progress, stop);
  folder.log(fmt::format("peak resident memory {}; planned {} on top of {} at the start",
                         bytes_text(peak_resident_memory()), bytes_text(memory.total()), bytes_text(before)));
  return result;
}

}  // namespace

TrainResult train(const TrainSettings& settings, Progress& progress, const std::atomic<bool>* stop,
                  const ExampleInput* examples) {
  RunPlan plan = plan_run(settings, examples);
  return plan.settings.dtype == "bf16" ? train_in<bf16>(plan, progress, stop, examples)
                                       : train_in<float>(plan, progress, stop, examples);
}

}  // namespace fathom
