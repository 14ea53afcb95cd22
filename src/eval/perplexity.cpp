#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/sequence_loss.h"

namespace fathom {
namespace {

using Convention = PerplexitySettings::Convention;

ScoreRequest slice(const std::vector<int32_t>& ids, size_t begin, size_t end, size_t scored) {
  return {{ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)},
          scored};
}

std::vector<ScoreRequest> strided_windows(const std::vector<int32_t>& ids, const PerplexitySettings& s) {
  std::vector<ScoreRequest> windows;
  for (size_t begin = 0, reached = 0; reached < ids.size(); begin += s.stride) {
    const size_t end = std::min(begin + s.window, ids.size());
    // The first id of a window has nothing before it.
    const size_t scored = std::min(end - reached, end - begin - 1);
    if (scored > 0) windows.push_back(slice(ids, begin, end, scored));
    reached = end;
  }
  if (windows.empty()) fail("the text gives fewer than two tokens", "give more text");
  return windows;
}

std::vector<ScoreRequest> llama_chunks(const std::vector<int32_t>& ids, const PerplexitySettings& s,
                                       bool add_bos, int32_t bos) {
  if (ids.size() < 2 * s.window) {
    fail("the text gives " + std::to_string(ids.size()) +
             " tokens; llama.cpp's convention wants two chunks of " + std::to_string(s.window),
         "give more text, or a smaller --seq");
  }
  std::vector<ScoreRequest> chunks;
  for (size_t begin = 0; begin + s.window <= ids.size(); begin += s.window) {
    chunks.push_back(slice(ids, begin, begin + s.window, s.window - 1 - s.window / 2));
    if (add_bos) chunks.back().ids[0] = bos;
  }
  return chunks;
}

}  // namespace

Convention parse_convention(const std::string& name) {
  if (name == "hf") return Convention::kStrided;
  if (name == "llama.cpp") return Convention::kLlamaCpp;
  usage_error("unknown --convention '" + name + "'", "known: hf, llama.cpp");
}

std::string convention_text(const PerplexitySettings& s) {
  if (s.convention == Convention::kLlamaCpp)
    return fmt::format("llama.cpp: chunks of {}, the second half of each scored", s.window);
  return fmt::format("Hugging Face: windows of {}, stride {}", s.window, s.stride);
}

PerplexitySettings resolve(PerplexitySettings s, size_t max_length) {
  const bool llama = s.convention == Convention::kLlamaCpp;
  if (llama && s.stride > 0) usage_error("--stride has no meaning in llama.cpp's convention", "leave it out");
  if (s.window == 0) s.window = std::min<size_t>(max_length, llama ? 512 : 1024);
  if (s.window > max_length)
    usage_error("--seq " + std::to_string(s.window) + " is longer than the model's context of " +
                std::to_string(max_length));
  if (s.window < (llama ? 4 : 2)) usage_error("--seq " + std::to_string(s.window) + " is too short");
  if (s.stride == 0) s.stride = s.window / 2;
  if (s.stride > s.window)
    usage_error("--stride " + std::to_string(s.stride) + " leaves out tokens between windows of " +
                std::to_string(s.window));
  return s;
}

std::vector<ScoreRequest> perplexity_windows(const Tokenizer& tokenizer, const std::vector<int32_t>& text,
                                             const PerplexitySettings& settings) {
  std::vector<int32_t> ids = text;
  if (tokenizer.add_bos()) ids.insert(ids.begin(), tokenizer.bos_id());
  return settings.convention == Convention::kStrided
             ? strided_windows(ids, settings)
             : llama_chunks(ids, settings, tokenizer.add_bos(), tokenizer.bos_id());
}

double PerplexityResult::token_perplexity() const { return std::exp(loss); }
double PerplexityResult::word_perplexity() const {
  return std::exp(loss * static_cast<double>(tokens) / words);
}
double PerplexityResult::byte_perplexity() const {
  return std::exp(loss * static_cast<double>(tokens) / bytes);
}
double PerplexityResult::bits_per_byte() const {
  return loss * static_cast<double>(tokens) / bytes / std::log(2.0);
}

template <class W>
PerplexityResult measure_perplexity(Transformer<W>& model, const Tokenizer& tokenizer, const JoinedText& text,
                                    const PerplexitySettings& settings, size_t batch_tokens,
                                    Progress& progress) {
  const std::vector<ScoreRequest> windows = perplexity_windows(tokenizer, text.ids, settings);
  std::vector<std::vector<ScoreRequest>> groups;
  for (const ScoreRequest& window : windows) groups.push_back({window});
  PerplexityResult result;
  result.settings = settings;
  result.windows = windows.size();
  SequenceLoss loss;
  double squares = 0;
  progress.begin("perplexity", windows.size(), "windows");
  const Program<Stream<W>> program = whole_program<Stream<W>>(model.config().num_hidden_layers);
  result.work = score_groups<W>(
      model, program, groups, 0, batch_tokens,
      [&](size_t g, std::span<const std::vector<double>> nll) {
        double sum = 0;
        for (const double v : nll[0]) {
          sum += v;
          squares += v * v;
        }
        loss.nll.push_back(sum);
        loss.count.push_back(nll[0].size());
        const std::vector<int32_t>& ids = windows[g].ids;
        for (size_t i = ids.size() - nll[0].size(); i < ids.size(); ++i)
          result.bytes += static_cast<double>(tokenizer.bytes_of(ids[i]).size());
      },
      [&](size_t done, const ScoringWork&) {
        progress.update(done, fmt::format("perplexity {:.4f}", loss.perplexity()));
      });
  progress.end();
  result.loss = loss.mean();
  result.tokens = result.work.scored;
  const auto n = static_cast<double>(result.tokens);
  result.words = result.bytes * static_cast<double>(text.words) / static_cast<double>(text.bytes);
  const double variance =
      squares / n - result.loss * result.loss;  // by rounding maybe below 0; NaN stays NaN
  result.loss_stderr = settings.convention == Convention::kStrided
                           ? loss.standard_error()
                           : std::sqrt((variance < 0 ? 0.0 : variance) / (n - 1));
  return result;
}

nlohmann::json perplexity_json(const PerplexityResult& r) {
  const bool strided = r.settings.convention == Convention::kStrided;
  nlohmann::json json{{"task", "perplexity"},
                      {"convention", strided ? "hf" : "llama.cpp"},
                      {"convention_text", convention_text(r.settings)},
                      {"window", r.settings.window},
                      {"windows", r.windows},
                      {"tokens", r.tokens},
                      {"bytes", r.bytes},
                      {"words", r.words},
                      {"loss", r.loss},
                      {"loss_stderr", r.loss_stderr},
                      {"stderr_over", strided ? "windows" : "tokens"},
                      {"token_perplexity", r.token_perplexity()},
                      {"token_perplexity_stderr", r.token_perplexity() * r.loss_stderr},
                      {"word_perplexity", r.word_perplexity()},
                      {"byte_perplexity", r.byte_perplexity()},
                      {"bits_per_byte", r.bits_per_byte()}};
  if (strided) json["stride"] = r.settings.stride;
  return json;
}

#define FATHOM_INSTANTIATE(W)                                                                           \
  template PerplexityResult measure_perplexity<W>(Transformer<W>&, const Tokenizer&, const JoinedText&, \
                                                  const PerplexitySettings&, size_t, Progress&);
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
