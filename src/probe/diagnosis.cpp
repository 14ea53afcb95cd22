#include "probe/diagnosis.h"

#include <algorithm>
#include <chrono>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/format.h"
#include "core/log.h"
#include "core/profile.h"
#include "probe/diagnosis_forecast.h"
#include "probe/diagnosis_sums.h"
#include "probe/gradient_norms.h"
#include "probe/sequence_batches.h"

namespace fathom {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

// Between two times that the state is written, within a stage and between stages: what is lost at most.
constexpr std::chrono::seconds kSaveWithin{20}, kSaveBetween{1};

// Runs the parts of a diagnosis in order, and keeps how far it has come.
template <class W>
class Diagnosis {
 public:
  using S = Stream<W>;

  Diagnosis(Transformer<W>& model, const TokenSequences& sequences, const DiagnosisOptions& options,
            const std::vector<ParamSpec>& list, Progress& progress)
      : model_(model),
        sequences_(sequences),
        options_(options),
        list_(list),
        progress_(progress),
        state_(options.state, diagnosis_fingerprint(sequences, options, dtype_of<W>())),
        place_{.pass_rows =
                   state_.place().value_or(DiagnosisPlace{.pass_rows = options.pass_rows}).pass_rows},
        batches_(SequenceBatches::by_rows(sequences, place_.pass_rows)),
        tokens_(batches_.tokens()),
        L_(model.plans().size()),
        C_(model.config().hidden_size),
        metrics_(L_, options),
        record_(L_, options.spill),
        cost_(diagnosis_cost(options, model.config(), tokens_,
                             sequences.empty() ? 1 : sequences[0].size() - 1)) {}

  json run() {
    resumed_ = state_.load(place_, metrics_.sums());
    if (wants("usefulness")) metrics_.usefulness.reason = no_usefulness();
    if (resumed_) log_info("goes on from " + state_.path().string() + begun_anew());
    model_.set_rows_at_once(kDiagnosisRowsAtOnce);
    progress_.begin("probe", static_cast<uint64_t>(cost_.total() / 1e9), "GFLOP");
    if (resumed_) report(cost_before(place_));
    if (refits()) fit_anew();
    for (size_t p = place_.pass; p < batches_.count(); ++p) run_pass(p);
    saved(std::chrono::seconds(0));
    if (batches_.count() > 1 && wants("grad_norm") && metrics_.gradient_norms.empty()) {
      add_gradients_of_all();
      saved(std::chrono::seconds(0));
    }
    progress_.end();
    json out = metrics_.result(model_.plans());
    out["tokens"] = tokens_;
    out["sequences"] = sequences_.size();
    if (wants("usefulness")) add_usefulness(out, metrics_.usefulness.result(sequences_));
    if (resumed_) out["resumed"] = true;
    return out;
  }

 private:
  bool wants(const char* metric) const { return metrics_.wants(metric); }

  // The sequences of one pass through the model and all that is done with the streams it leaves.
  void run_pass(size_t p) {
    const Batch batch = batches_[p];
    const size_t at_once = options_.batch_size > 0 ? options_.batch_size * batch.T : kDiagnosisRowsAtOnce;
    model_.set_rows_at_once(at_once);
    std::vector<double> nll(batch.rows());
    forward(nll.data(), batch);
    if (begins(DiagnosisStage::kAngles)) {
      if (metrics_.any({"angular_distance", "angular_matrix_all", "angular_matrix_last"}))
        metrics_.angles.add(record_, batch, C_);
      done(DiagnosisStage::kLens);
    }
    if (begins(DiagnosisStage::kLens)) {
      if (metrics_.any({"lens_loss", "lens_kl", "lens_top5"})) lens(batch);
      done(DiagnosisStage::kRemoval);
    }
    if (begins(DiagnosisStage::kRemoval)) {
      if (metrics_.any({"causal_score", "effective_depth"})) removal(nll.data(), batch);
      done(DiagnosisStage::kPermutation);
    }
    if (begins(DiagnosisStage::kPermutation)) {
      if (wants("permutation_score")) permutation(nll.data(), batch);
      done(DiagnosisStage::kIdentity);
    }
    if (begins(DiagnosisStage::kIdentity)) {
      if (wants("identity_deviation")) identity(batch, at_once);
      done(DiagnosisStage::kGradients);
    }
    if (begins(DiagnosisStage::kGradients)) {
      if (wants("grad_norm") && batches_.count() == 1) gradients(batch);
      done(DiagnosisStage::kUsefulness);
    }
    if (begins(DiagnosisStage::kUsefulness)) {
      if (wants("usefulness")) usefulness(nll.data(), batch, p);
      place_ = {place_.pass_rows, p + 1, DiagnosisStage::kForward, 0};
      saved(kSaveBetween);
    }
  }

  // Whether the stage is the next one; of a pass that was resumed the earlier ones are done.
  bool begins(DiagnosisStage stage) const { return place_.stage == stage; }

  // The streams are made anew where a pass is taken up again; its sums are there already.
  void forward(double* nll, const Batch& batch) {
    const ProfileScope scope("probe forward");
    const bool is_new = begins(DiagnosisStage::kForward);
    std::vector<StreamMetric<S>*> observers{&record_};
    if (is_new) observers = {&metrics_.statistics, &metrics_.influence, &metrics_.steps, &record_};
    const Observer<S> watch = observer_of<S>(observers, batch, C_);
    const double before = done_, share = share_of(batch, cost_.forward);
    size_t layers = 0;
    model_.forward(nll, batch, [&](const Tap<S>& tap) {
      watch(tap);
      if (tap.point != TapPoint::kMlp) return;
      report(before + share * static_cast<double>(++layers) / static_cast<double>(L_ + 1));
      if (is_new) look();
    });
    report(before + share);
    record_.drop();
    if (!is_new) return;
    metrics_.loss[0].add_rows(nll, batch);
    done(DiagnosisStage::kAngles);
  }

  void lens(const Batch& batch) {
    const ProfileScope scope("probe lens");
    const Batch part = first_sequences(batch, options_.lens_tokens, metrics_.lens_tokens);
    if (part.B == 0) return;
    const double before = done_, rows = static_cast<double>(part.rows());
    const double share = share_of_first(scored_tokens(part), lens_tokens(options_, batch.T), cost_.lens);
    metrics_.lens.add(model_, record_, part, [&](size_t n) {
      report(before + share * static_cast<double>(n) / rows);
      look();
    });
    metrics_.lens_tokens += scored_tokens(part);
  }

  void removal(const double* nll, const Batch& batch) {
    const ProfileScope scope("probe removal");
    const double share = share_of(batch, cost_.removal);
    const double before = done_ - share * part_of(DiagnosisStage::kRemoval, place_.item);
    metrics_.removal.add(
        model_, record_, nll, batch, wants("causal_score") ? &metrics_.causal : nullptr,
        [&](size_t s) {
          report(before + share * part_of(DiagnosisStage::kRemoval, s + 1));
          record_.drop();
          item_done(s + 1);
        },
        place_.item);
  }

  Batch permuted_part(const Batch& batch) const {
    return first_sequences(batch, permuted_tokens(options_, batch.T), metrics_.permutation_tokens);
  }

  void permutation(const double* nll, const Batch& batch) {
    const ProfileScope scope("probe permutation");
    const Batch part = permuted_part(batch);
    if (part.B == 0) return;
    const double share =
        share_of_first(scored_tokens(part), permuted_tokens(options_, batch.T), cost_.permutation);
    const double before = done_ - share * part_of(DiagnosisStage::kPermutation, place_.item);
    metrics_.permutation.add(
        model_, record_, nll, part, batch.rows(),  // whose streams there is memory for
        [&](size_t pair) {
          report(before + share * part_of(DiagnosisStage::kPermutation, pair + 1));
          item_done(pair + 1);
        },
        place_.item);
    metrics_.permutation_tokens += scored_tokens(part);
  }

  void identity(const Batch& batch, size_t at_once) {
    const ProfileScope scope("probe identity");
    const double share = share_of(batch, cost_.identity);
    const double before = done_ - share * part_of(DiagnosisStage::kIdentity, place_.item);
    metrics_.deviation.add(
        model_, record_, batch, at_once,
        [&](size_t l) {
          report(before + share * part_of(DiagnosisStage::kIdentity, l + 1));
          item_done(l + 1);
        },
        place_.item);
  }

  void gradients(const Batch& batch) {
    const ProfileScope scope("probe gradients");
    GradientNorms<S> norms(list_, L_, false);
    add_gradients(norms, batch);
    metrics_.gradient_norms = norms.norms();
  }

  void add_gradients(GradientNorms<S>& norms, const Batch& batch) {
    const double before = done_, share = share_of(batch, cost_.gradients);
    norms.add(model_, record_, batch, 1.0 / static_cast<double>(tokens_), [&](size_t l) {
      report(before + share * static_cast<double>(L_ - l) / static_cast<double>(L_));
      look();
    });
  }

  // Why the usefulness is not measured, or "". Whether there is memory for it is asked where there is
  // something left to measure; where a part of the text went by without, it stays left out.
  std::string no_usefulness() const {
    std::optional<size_t> budget = options_.spare_bytes;
    if (place_.pass == batches_.count()) budget = SIZE_MAX;
    if (metrics_.usefulness.left_out > 0) budget = 0;
    const size_t layers = batches_.count() > 1 ? L_ : 1;
    return usefulness_obstacle(sequences_, C_, usefulness_bytes<S>(layers, C_), budget);
  }

  // Of the sequences of a pass, those of the first half of the text.
  size_t fitted_of(size_t p) const {
    const size_t begin = batches_.first(p);
    return std::clamp(sequences_.size() / 2, begin, batches_.first(p + 1)) - begin;
  }

  void usefulness(const double* nll, const Batch& batch, size_t p) {
    const ProfileScope scope("probe usefulness");
    const double share = share_of(batch, cost_.usefulness);
    const double before = done_ - share * part_of(DiagnosisStage::kUsefulness, place_.item);
    metrics_.usefulness.add(
        model_, record_, nll, batch, fitted_of(p), p + 1 < batches_.count(),
        [&](size_t l) {
          report(before + share * part_of(DiagnosisStage::kUsefulness, l + 1));
          item_done(l + 1);
        },
        place_.item);
  }

  // Whether linear maps that are still to be used were fitted on passes that are over.
  bool refits() const {
    return wants("usefulness") && metrics_.usefulness.reason.empty() && place_.pass > 0 &&
           place_.pass < batches_.count();
  }
  void fit_anew() {
    const bool is_last = place_.pass + 1 == batches_.count();
    const size_t first = is_last && begins(DiagnosisStage::kUsefulness) ? place_.item : 0;
    for (size_t p = 0; p < place_.pass && fitted_of(p) > 0; ++p) {
      const Batch batch = batches_[p];
      std::vector<double> nll(batch.rows());
      model_.forward(nll.data(), batch, observer_of<S>({&record_}, batch, C_));
      metrics_.usefulness.fit(record_, batch, C_, fitted_of(p), first);
      look();
    }
  }

  // A norm is of the sum over the text: with several passes every layer's sum has to be held to the end.
  void add_gradients_of_all() {
    const size_t bytes = GradientNorms<S>::bytes(list_, L_, true);
    if (bytes > options_.spare_bytes.value_or(bytes)) {
      metrics_.gradient_reason = "the text takes " + std::to_string(batches_.count()) +
                                 " passes, over which the gradients of all layers would have to be held, " +
                                 bytes_text(static_cast<double>(bytes)) +
                                 "; take more --memory, fewer --tokens, or --spill a folder";
      return;
    }
    GradientNorms<S> norms(list_, L_, true);
    for (size_t p = 0; p < batches_.count(); ++p) {
      const Batch batch = batches_[p];
      std::vector<double> nll(batch.rows());
      model_.forward(nll.data(), batch, observer_of<S>({&record_}, batch, C_));
      add_gradients(norms, batch);
    }
    metrics_.gradient_norms = norms.norms();
  }

  double share_of(const Batch& batch, double cost) const {
    return cost * static_cast<double>(scored_tokens(batch)) / static_cast<double>(tokens_);
  }
  // Of what is measured on the first `limit` tokens alone (0: on all), the part that `n` tokens are.
  double share_of_first(uint64_t n, uint64_t limit, double cost) const {
    const uint64_t all = limit > 0 ? std::min(limit, tokens_) : tokens_;
    return cost * std::min(1.0, static_cast<double>(n) / static_cast<double>(all));
  }
  double part_of(DiagnosisStage stage, uint64_t items) const { return part_of_stage(stage, items, L_); }
  // What was done before a place, for the progress. The streams of a pass that is taken up again are made
  // anew: its forward is still to come.
  double cost_before(const DiagnosisPlace& at) {
    const double gradients = batches_.count() == 1 ? cost_.gradients : 0.0;
    const double pass = cost_.forward + cost_.removal + cost_.identity + gradients + cost_.usefulness;
    const size_t T = sequences_.empty() ? 1 : sequences_[0].size() - 1;
    double done =
        share_of_first(metrics_.lens_tokens, lens_tokens(options_, T), cost_.lens) +
        share_of_first(metrics_.permutation_tokens, permuted_tokens(options_, T), cost_.permutation);
    for (size_t p = 0; p < at.pass; ++p) done += share_of(batches_[p], pass);
    if (at.pass == batches_.count()) return done;
    const Batch batch = batches_[at.pass];
    const double removal = share_of(batch, cost_.removal), identity = share_of(batch, cost_.identity);
    if (at.stage > DiagnosisStage::kRemoval) done += removal;
    if (at.stage > DiagnosisStage::kIdentity) done += identity;
    if (at.stage > DiagnosisStage::kGradients) done += share_of(batch, gradients);
    const double stage = at.stage == DiagnosisStage::kRemoval    ? removal
                         : at.stage == DiagnosisStage::kIdentity ? identity
                         : at.stage == DiagnosisStage::kUsefulness
                             ? share_of(batch, cost_.usefulness)
                             : share_of_first(scored_tokens(permuted_part(batch)),
                                              permuted_tokens(options_, T), cost_.permutation);
    return done + stage * part_of(at.stage, at.item);
  }
  void report(double flop) {
    done_ = flop;
    progress_.update(static_cast<uint64_t>(flop / 1e9));
  }

  void done(DiagnosisStage next) {
    place_.stage = next;
    place_.item = 0;
    saved(kSaveBetween);
  }
  void item_done(uint64_t next) {
    place_.item = next;
    saved(kSaveWithin);
  }

  // Here place and sums belong together: writes them now and then, and where the diagnosis is to stop.
  void saved(std::chrono::seconds after) {
    const bool stops = stop_asked();
    if (state_.kept() && (stops || Clock::now() - last_saved_ >= after)) {
      state_.save(place_, metrics_.sums());
      last_saved_ = Clock::now();
      saved_ = true;
    }
    if (stops) end_here();
  }
  // Where sums are half made: the place that was saved last holds.
  void look() const {
    if (stop_asked()) end_here();
  }
  bool stop_asked() const { return options_.stop != nullptr && options_.stop->load(); }
  [[noreturn]] void end_here() const {
    // A file that is there may be another diagnosis's.
    if (!resumed_ && !saved_)
      fail("stopped by a signal; nothing was kept",
           state_.kept() ? "" : "with --json or --resume-dir a diagnosis can go on");
    fail("stopped by a signal; what was done is in " + state_.path().string() + begun_anew(),
         "go on with the same command");
  }
  // What a diagnosis that goes on does again from its beginning: what is too large to be kept.
  std::string begun_anew() const {
    std::string parts;
    const auto add = [&](const char* part) { parts += (parts.empty() ? "" : ", ") + std::string(part); };
    if (place_.pass < batches_.count() && !begins(DiagnosisStage::kForward)) add("the streams of this pass");
    if (batches_.count() > 1 && wants("grad_norm") && metrics_.gradient_norms.empty()) add("the gradients");
    if (refits()) add("the linear maps");
    return parts.empty() ? parts : "; made from the beginning: " + parts;
  }

  Transformer<W>& model_;
  const TokenSequences& sequences_;
  const DiagnosisOptions& options_;
  const std::vector<ParamSpec>& list_;
  Progress& progress_;
  DiagnosisState state_;
  DiagnosisPlace place_;
  SequenceBatches batches_;
  const uint64_t tokens_;
  const size_t L_, C_;
  DiagnosisMetrics<S> metrics_;
  StreamRecorder<S> record_;  // of the pass that was made last
  const DiagnosisCost cost_;
  bool resumed_ = false, saved_ = false;
  double done_ = 0;
  Clock::time_point last_saved_ = Clock::now();
};

}  // namespace

template <class W>
json diagnose(Transformer<W>& model, const TokenSequences& sequences, const DiagnosisOptions& options,
              const std::vector<ParamSpec>& list, Progress& progress) {
  return Diagnosis<W>(model, sequences, options, list, progress).run();
}

template json diagnose<double>(Transformer<double>&, const TokenSequences&, const DiagnosisOptions&,
                               const std::vector<ParamSpec>&, Progress&);
template json diagnose<float>(Transformer<float>&, const TokenSequences&, const DiagnosisOptions&,
                              const std::vector<ParamSpec>&, Progress&);
template json diagnose<bf16>(Transformer<bf16>&, const TokenSequences&, const DiagnosisOptions&,
                             const std::vector<ParamSpec>&, Progress&);

}  // namespace fathom
