#include "report/metric_definitions.h"

#include <algorithm>
#include <stdexcept>

namespace fathom {
namespace {

// h_l is the stream after layer l, h_0 the embedding, a_l and m_l what attention and MLP add, t a token, d
// the hidden size, T the number of tokens.
constexpr MetricDefinition kDefinitions[] = {
    {"variance", "variance of layer l", "V_l = E_t[ var_d(h_{l,t}) ]",
     "mean over tokens of the population variance of h_l over the hidden dimension",
     "Sun et al. 2025, figure on output variance"},
    {"rms", "rms", "R_l = E_t[ √(mean_d(h_{l,t}^2)) ]", "mean over tokens of the root mean square of h_l",
     ""},
    {"variance_without_first, rms_without_first", "variance, rms without first",
     "t = 2, 3, .. of each sequence",
     "the same over all tokens but the first of each sequence (`variance_without_first`, "
     "`rms_without_first`), on "
     "which massive activations sit",
     "Sun et al. 2024, arXiv 2402.17762"},
    {"attn_variance, mlp_variance, attn_rms, mlp_rms", "attention / MLP variance, rms",
     "E_t[ var_d(a_{l,t}) ],   E_t[ √(mean_d(a_{l,t}^2)) ],   the same of m_l",
     "of what the step adds to the stream, the stream after it less the stream before it (`attn_variance`, "
     "`mlp_variance`, `attn_rms`, `mlp_rms`)",
     ""},
    {"block_influence", "block influence", "BI_l = 1 − E_t[ cos(h_{l−1,t}, h_{l,t}) ]",
     "1 - mean over tokens of cos(h_{l-1}, h_l)", "Men et al. 2024, arXiv 2403.03853"},
    {"angular_distance, angular_matrix_all, angular_matrix_last", "angular distance of n layers from l",
     "d(l, n) = E_t[ arccos(cos(h_{l,t}, h_{l+n,t})) ] / π",
     "arccos(clamp(cos(h_l, h_{l+n}))) / pi, mean over all tokens, or of the last token of each sequence",
     "Gromov et al. 2024, arXiv 2403.17887"},
    {"attn_contribution, mlp_contribution", "attention / MLP contribution",
     "E_t[ ‖a_{l,t}‖ / ‖h_{l−1,t}‖ ],   E_t[ ‖m_{l,t}‖ / ‖h_{l−1,t} + a_{l,t}‖ ]",
     "mean over tokens of the norm of the change that the step makes, over the norm of the stream before it",
     "2505.13898"},
    {"attn_cosine, mlp_cosine", "attention / MLP cosine",
     "E_t[ cos(a_{l,t}, h_{l−1,t}) ],   E_t[ cos(m_{l,t}, h_{l−1,t} + a_{l,t}) ]",
     "mean cosine of that change with the stream before it", "2505.13898"},
    {"loss_without, delta_loss", "loss without layer l", "Δ_l = loss without l − loss",
     "cross-entropy with the layer left out; the other layers keep the scale and kind of their own index",
     ""},
    {"delta_acc, delta_acc_norm", "change of accuracy",
     "Δ = (1/n) Σ_i d_i,   d_i = right_i without − right_i",
     "accuracy on a task without the layers minus that of the whole model, on the same n items; its standard "
     "error is paired, √(Σ_i (d_i − Δ)^2 / (n − 1) / n); within two of them of zero it is called noise; p is "
     "McNemar's, exact and two-sided, of the items lost and gained",
     "Miller 2024, arXiv 2411.00640; McNemar 1947"},
    {"effective_depth, effective_depth_ratio", "effective depth",
     "L_{eff} = (Σ_l d_l)^2 / Σ_l d_l^2,   d_l = max(0, Δ_l)",
     "(sum d)^2 / sum d^2 with d_l = max(0, loss without l - loss): L when all layers matter alike; its "
     "ratio is over "
     "L; null when no removal hurts, and where a loss is not finite. Noise about 0 counts on one side alone: "
     "where many costs lie within it, the depth comes out too large",
     "design of this project"},
    {"lens_loss, lens_kl, lens_top5", "lens loss, KL, top 5",
     "p_l = softmax(W_U norm(h_l)):   −log p_l(target),   KL(p_l ‖ p_L),   #(top5(p_l) ∩ top5(p_L)) / 5",
     "final norm and head on h_l: the loss; KL(lens, final); share of the lens's five likeliest tokens among "
     "the "
     "final five; over all tokens, or the first `--lens-tokens` (whole sequences; `lens_tokens` says how "
     "many)",
     "logit lens"},
    {"causal_score", "causal score (s, l)",
     "C(s, l) = E‖u_l − u_l^{without s}‖ / E‖u_l‖,   u_l = h_l − h_{l−1}",
     "mean norm of the difference of layer l's change with and without layer s, over the mean norm of layer "
     "l's change "
     "(a ratio of means)",
     "2609.32534"},
    {"permutation_score", "permutation score (i, j)", "P(i, j) = abs(loss(i ↔ j) − loss) / loss",
     "abs(loss with layers i and j swapped - loss) / loss; a layer takes its scale with it", "2609.32534"},
    {"identity_deviation", "identity deviation of layer l",
     "D_l = ‖J_l − I‖_F / √(T d),   J_l = ∂h_l / ∂h_{l−1}",
     "norm of J - I over sqrt(T d), J = d h_l / d h_{l-1} of a whole sequence (Frobenius norm); exact from T "
     "d "
     "vector-Jacobian products (`--exact-identity`, T d up to 65,536; `identity_deviation_exact`), or "
     "estimated "
     "from K random sign vectors v by the root of the mean square of "
     "the norm "
     "of (J^T - I) v over the norm of v, with its standard error. 0: the layer is an identity map",
     "design of this project"},
    {"usefulness, usefulness_share", "usefulness of layer l", "U_l = loss(h_l := A h_{l−1} + b) / loss − 1",
     "loss with the layer replaced by the linear map (with bias) that fits it best, over the loss, minus 1; "
     "fitted by "
     "least squares in double on the first half of the sequences, scored on the second; null, with "
     "`usefulness_reason`, for fewer than 4 d tokens to fit, or without memory for it; "
     "`usefulness_fitted_tokens` and `usefulness_scored_tokens` say on how many. Share: of layers above 0.1",
     "2505.13898, as a ratio minus 1"},
    {"variance_growth", "variance growth", "V = c + k l,   log V = c + a log l,   log V = c + b l",
     "least-squares fits of the variance of layers 1 to L: linear V = c + k l, power log V = c + a log l, "
     "exponential log V = c + b l; the law is the one with the smallest AICc, the fits of log V brought to "
     "the "
     "scale of V by 2 sum log V. `exponent` is a, `slope` k, `rate` b; null for fewer than 6 layers. `jump` "
     "names "
     "the layer that changes log V most and its share of all layers' changes; from a half on "
     "(`dominated_by_jump`) no law is to be believed, and the summary names the layer instead",
     "Burnham & Anderson 2002"},
    {"grad_norm", "gradient norm of layer l", "‖∂ loss / ∂ W_l‖",
     "of the loss's gradient with respect to all of the layer's parameters", ""},
    {"perplexity", "perplexity", "exp(Σ nll / scored tokens)",
     "exp(sum of nll / number of scored tokens), whatever the batch", ""},
};

}  // namespace

bool MetricDefinition::defines(std::string_view key) const {
  for (size_t begin = 0; begin <= keys.size();) {
    const size_t end = std::min(keys.find(", ", begin), keys.size());
    if (keys.substr(begin, end - begin) == key) return true;
    begin = end + 2;
  }
  return false;
}

std::span<const MetricDefinition> metric_definitions() { return kDefinitions; }

size_t metric_definition_index(std::string_view key) {
  const auto it = std::find_if(std::begin(kDefinitions), std::end(kDefinitions),
                               [&](const MetricDefinition& d) { return d.defines(key); });
  if (it == std::end(kDefinitions)) throw std::logic_error("no definition of '" + std::string(key) + "'");
  return static_cast<size_t>(it - std::begin(kDefinitions));
}

}  // namespace fathom
