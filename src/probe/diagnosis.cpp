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

// Reports another's progress, and looks between its steps whether to stop.
class Stoppable final : public Progress {
 public:
  Stoppable(Progress& inner, std::function<void()> look) : inner_(inner), look_(std::move(look)) {}
  void begin(const std::string& label, uint64_t total, const std::string& unit) override {
    inner_.begin(label, total, unit);
  }
  void update(uint64_t done, const std::string& note) override {
    inner_.update(done, note);
    look_();
  }
  void end(const std::string& note) override { inner_.end(note); }

 private:
  Progress& inner_;
  std::function<void()> look_;
};

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
    if (resumed_) log_info("goes on from " + state_.path().string() + begun_anew());
    model_.set_rows_at_once(kDiagnosisRowsAtOnce);
    progress_.begin("probe", static_cast<uint64_t>((cost_.total() - cost_.usefulness) / 1e9), "GFLOP");
    if (resumed_) report(cost_before(place_));
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
    if (metrics_.wants("usefulness")) {
      Stoppable stoppable(progress_, [this] { look(); });
      RecordedText<S> recorded;
      if (batches_.count() == 1 && !nll_.empty())
        recorded = {&record_, batches_[0], nll_.data()};
      else
        record_ = StreamRecorder<S>(L_);  // its memory is wanted
      add_usefulness(out, measure_usefulness(model_, sequences_, place_.pass_rows, stoppable, options_.spill,
                                             options_.spare_bytes, recorded));
    }
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
    nll_.assign(batch.rows(), 0);
    forward(nll_.data(), batch);
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
      if (metrics_.any({"causal_score", "effective_depth"})) removal(nll_.data(), batch);
      done(DiagnosisStage::kPermutation);
    }
    if (begins(DiagnosisStage::kPermutation)) {
      if (wants("permutation_score")) permutation(nll_.data(), batch);
      done(DiagnosisStage::kIdentity);
    }
    if (begins(DiagnosisStage::kIdentity)) {
      if (wants("identity_deviation")) identity(batch, at_once);
      done(DiagnosisStage::kGradients);
    }
    if (begins(DiagnosisStage::kGradients)) {
      if (wants("grad_norm") && batches_.count() == 1) gradients(batch);
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

  // The first sequences of a batch, as many as it takes for `limit` tokens in all (0: no limit).
  Batch first_part(const Batch& batch, uint64_t limit, uint64_t so_far) const {
    Batch part = batch;
    if (limit > 0) {
      const uint64_t missing = limit > so_far ? limit - so_far : 0;
      part.B = std::min<size_t>(batch.B, (missing + batch.T - 1) / batch.T);
    }
    return part;
  }
  static uint64_t scored(const Batch& batch) {
    uint64_t n = 0;
    for (size_t r = 0; r < batch.rows(); ++r) n += is_scored(batch, r) ? 1 : 0;
    return n;
  }

  void lens(const Batch& batch) {
    const ProfileScope scope("probe lens");
    const Batch part = first_part(batch, options_.lens_tokens, metrics_.lens_tokens);
    if (part.B == 0) return;
    const double before = done_, rows = static_cast<double>(part.rows());
    const double share = share_of_first(scored(part), lens_tokens(options_, batch.T), cost_.lens);
    metrics_.lens.add(model_, record_, part, [&](size_t n) {
      report(before + share * static_cast<double>(n) / rows);
      look();
    });
    metrics_.lens_tokens += scored(part);
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
    return first_part(batch, permuted_tokens(options_, batch.T), metrics_.permutation_tokens);
  }

  void permutation(const double* nll, const Batch& batch) {
    const ProfileScope scope("probe permutation");
    const Batch part = permuted_part(batch);
    if (part.B == 0) return;
    const double share = share_of_first(scored(part), permuted_tokens(options_, batch.T), cost_.permutation);
    const double before = done_ - share * part_of(DiagnosisStage::kPermutation, place_.item);
    metrics_.permutation.add(
        model_, record_, nll, part, batch.rows(),  // whose streams there is memory for
        [&](size_t pair) {
          report(before + share * part_of(DiagnosisStage::kPermutation, pair + 1));
          item_done(pair + 1);
        },
        place_.item);
    metrics_.permutation_tokens += scored(part);
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
    return cost * static_cast<double>(scored(batch)) / static_cast<double>(tokens_);
  }
  // Of what is measured on the first `limit` tokens alone (0: on all), the part that `n` tokens are.
  double share_of_first(uint64_t n, uint64_t limit, double cost) const {
    const uint64_t all = limit > 0 ? std::min(limit, tokens_) : tokens_;
    return cost * std::min(1.0, static_cast<double>(n) / static_cast<double>(all));
  }
  // Of a stage's cost, what its first items are: the removal of an early layer takes longer than of a late
  // one.
  double part_of(DiagnosisStage stage, uint64_t items) const {
    const auto n = static_cast<double>(items), L = static_cast<double>(L_);
    if (stage == DiagnosisStage::kRemoval) return n * (2 * L - n) / (L * L);
    if (stage == DiagnosisStage::kPermutation) return L > 1 ? n / (L * (L - 1) / 2) : 1.0;
    return stage == DiagnosisStage::kIdentity ? n / L : 0.0;
  }
  // What was done before a place, for the progress. The streams of a pass that is taken up again are made
  // anew: its forward is still to come.
  double cost_before(const DiagnosisPlace& at) {
    const double pass =
        cost_.forward + cost_.removal + cost_.identity + (batches_.count() == 1 ? cost_.gradients : 0.0);
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
    const double stage =
        at.stage == DiagnosisStage::kRemoval ? removal
        : at.stage == DiagnosisStage::kIdentity
            ? identity
            : share_of_first(scored(permuted_part(batch)), permuted_tokens(options_, T), cost_.permutation);
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
    if (wants("usefulness")) add("the usefulness");
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
  std::vector<double> nll_;   // its losses
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
