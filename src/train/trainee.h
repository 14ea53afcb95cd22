#pragma once
// What a run trains: a model, or adapters beside one. The loop, the optimizer and the checkpoints see
// masters, the list of what is trained, and a source of weights to compute with.

#include <filesystem>
#include <memory>
#include <vector>

#include "model/frozen_weights.h"

namespace fathom {

template <class W>
class Trainee {
 public:
  using S = Stream<W>;
  virtual ~Trainee() = default;

  /// The masters, some of them perhaps frozen.
  virtual ParameterStore<W>& store() = 0;
  virtual WeightSource<W>& source() = 0;
  /// Keeps the matrices packed for the products beside (ResidentWeights::keep_packed), and packs them anew
  /// after an update; nothing for adapters, whose base would take its memory twice more.
  virtual void keep_packed() {}
  virtual void pack() {}
  /// The part of store().list() that is trained, as choose() lays it out.
  const std::vector<ParamSpec>& trained() const { return trained_; }

  /// Writes what a model's user needs of a checkpoint into `folder`, which exists: a Hugging Face folder's
  /// files, or an adapter's.
  virtual void write(const std::filesystem::path& folder, DType stored) = 0;
  /// Reads what write() wrote. Errors: Error.
  virtual void read(const std::filesystem::path& folder) = 0;
  /// The parameters whose masters write() does not keep bit for bit when it stores them as `stored`: a
  /// checkpoint holds these beside.
  virtual std::vector<ParamSpec> rounded_by(DType stored) {
    return stored == dtype_of<S>() ? std::vector<ParamSpec>() : store().list();
  }

 protected:
  explicit Trainee(std::vector<ParamSpec> trained) : trained_(std::move(trained)) {}

 private:
  std::vector<ParamSpec> trained_;
};

/// A model of which all parameters, or a part, are trained. What is frozen keeps its masters, so that a
/// checkpoint holds it as it came.
template <class W>
class WholeModel final : public Trainee<W> {
 public:
  WholeModel(std::shared_ptr<ResidentWeights<W>> weights, std::vector<ParamSpec> trained)
      : Trainee<W>(std::move(trained)), weights_(std::move(weights)) {}
  ResidentWeights<W>& store() override { return *weights_; }
  WeightSource<W>& source() override { return *weights_; }
  void keep_packed() override { weights_->keep_packed(Packing::kTraining); }
  void pack() override;
  void write(const std::filesystem::path& folder, DType stored) override;
  void read(const std::filesystem::path& folder) override;
  /// Gains that files hold less one (Gemma) too: the difference and the sum are both rounded.
  std::vector<ParamSpec> rounded_by(DType stored) override;

 private:
  std::shared_ptr<ResidentWeights<W>> weights_;
};

/// Adapters beside a model that stays as it is, in the compute type alone.
template <class W>
class AdaptedModel final : public Trainee<W> {
 public:
  /// Loads the base. Errors: those of load_weights.
  AdaptedModel(const ModelConfig& config, std::filesystem::path base);
  AdaptedWeights<W>& store() override { return adapters_; }
  WeightSource<W>& source() override { return adapters_; }
  void write(const std::filesystem::path& folder, DType stored) override;
  void read(const std::filesystem::path& folder) override;

 private:
  ModelConfig config_;
  std::filesystem::path base_path_;
  FrozenWeights<W> base_;
  AdaptedWeights<W> adapters_;
};

}  // namespace fathom
