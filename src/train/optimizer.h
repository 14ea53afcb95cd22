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
  /// Trains all of `list`, or its part `trained` (choose()): the rest has no moments and is never touched.
  AdamW(const std::vector<ParamSpec>& list, const OptimizerSettings& settings)
      : AdamW(list, list, settings) {}
  AdamW(const std::vector<ParamSpec>& list, const std::vector<ParamSpec>& trained,
        const OptimizerSettings& settings);

  /// One update of `values`, flat in the order of the list, by `gradients`, in the order of what is trained,
  /// times `grad_scale`; `copy` or null, in the order of the list, receives the bf16 form in the same pass.
  /// Not to be called with gradients that are not finite.
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
  // Parameters with the same decay that are neighbours in both orders: one call of the kernel each.
  struct Range {
    size_t begin;  // in the moments and gradients
    size_t value;  // in the values
    size_t size;
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
