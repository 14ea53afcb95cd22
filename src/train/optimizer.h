#pragma once
// AdamW over all parameters of a model, flat in the order of the parameter list.

#include <cstdint>
#include <type_traits>
#include <variant>
#include <vector>

#include "core/buffer.h"
#include "kernels/adamw.h"
#include "model/parameters.h"

namespace fathom {

struct OptimizerSettings {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0.1;  ///< on specs with `decay` alone
  bool bf16_state = false;    ///< Moments in bf16, rounded stochastically; beside float parameters only.
  uint64_t seed = 0;          ///< of that rounding
};

/// m and v (count each).
template <class M>
struct Moments {
  explicit Moments(size_t count) : m(count), v(count) {}
  Buffer<M> m, v;
};

/// min(1, clip / (norm + 1e-6)), the factor on all gradients; 1 where clip is 0. Source: golden data's rule,
/// which is that of torch.nn.utils.clip_grad_norm_.
double clip_factor(double norm, double clip);

template <class S>
class AdamW {
 public:
  AdamW(const std::vector<ParamSpec>& list, const OptimizerSettings& settings);

  /// One update of `values` (count) by `gradients` (count) times `grad_scale`; `copy` (count) or null
  /// receives the bf16 form in the same pass. Not to be called with gradients that are not finite.
  void update(S* values, bf16* copy, const S* gradients, double lr, double grad_scale);

  /// Updates done, for the bias correction and the rounding's random bits, and the moments, in the type in
  /// which they are kept: what a checkpoint keeps.
  uint64_t updates() const { return updates_; }
  void set_updates(uint64_t n) { updates_ = n; }
  /// Calls fn(moments) with Moments of the type in force.
  template <class Fn>
  void visit_moments(const Fn& fn) {
    std::visit(fn, moments_);
  }

 private:
  // Neighbouring parameters with the same decay: one call of the kernel each.
  struct Range {
    size_t begin, size;
    bool decay;
  };
  OptimizerSettings settings_;
  std::vector<Range> ranges_;
  using AnyMoments = std::conditional_t<std::is_same_v<S, float>, std::variant<Moments<float>, Moments<bf16>>,
                                        std::variant<Moments<S>>>;
  static AnyMoments make_moments(size_t count, const OptimizerSettings& settings);
  AnyMoments moments_;
  uint64_t updates_ = 0;
};

}  // namespace fathom
