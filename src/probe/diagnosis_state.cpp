#include "probe/diagnosis_state.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/fnv.h"
#include "core/log.h"

namespace fathom {
namespace {

using nlohmann::json;

constexpr int kVersion = 3;

// Doubles are written in CBOR, which has forms for all of them, whatever bits.
json sums_to_json(const DiagnosisSums& sums) {
  json means = json::array(), counts = json::array();
  for (const auto* list : sums.means) {
    json states = json::array();
    for (const SequenceMean& mean : *list) states.push_back(mean.state());
    means.push_back(std::move(states));
  }
  for (const uint64_t* count : sums.counts) counts.push_back(*count);
  return {{"means", std::move(means)}, {"counts", std::move(counts)}, {"gradients", *sums.gradient_norms}};
}

// False where the shapes are not those of `sums`, which then stay as they are.
bool sums_from_json(const json& from, const DiagnosisSums& sums) {
  using State = std::array<double, SequenceMean::kStateSize>;
  const auto means = from.at("means").get<std::vector<std::vector<State>>>();
  const auto counts = from.at("counts").get<std::vector<uint64_t>>();
  auto gradients = from.at("gradients").get<std::vector<double>>();
  if (means.size() != sums.means.size() || counts.size() != sums.counts.size()) return false;
  for (size_t i = 0; i < means.size(); ++i) {
    if (means[i].size() != sums.means[i]->size()) return false;
  }
  for (size_t i = 0; i < means.size(); ++i) {
    for (size_t k = 0; k < means[i].size(); ++k) (*sums.means[i])[k] = SequenceMean::from_state(means[i][k]);
  }
  for (size_t i = 0; i < counts.size(); ++i) *sums.counts[i] = counts[i];
  *sums.gradient_norms = std::move(gradients);
  return true;
}

DiagnosisPlace place_of(const json& file) {
  const json& at = file.at("place");
  return {.pass_rows = at.at(0).get<uint64_t>(),
          .pass = at.at(1).get<uint64_t>(),
          .stage = static_cast<DiagnosisStage>(at.at(2).get<int>()),
          .item = at.at(3).get<uint64_t>()};
}

std::string digest(const std::string& text) { return fmt::format("{:016x}", fnv1a(text)); }

}  // namespace

bool DiagnosisState::load(DiagnosisPlace& place, const DiagnosisSums& sums) const {
  if (!kept() || !std::filesystem::exists(path_)) return false;
  const auto begin_anew = [&](const char* why) {
    log_warning(path_.string() + " " + why + ": the diagnosis begins anew");
    return false;
  };
  try {
    const json file = json::from_cbor(read_text_file(path_));
    if (file.at("version") != kVersion || file.at("fingerprint") != fingerprint_)
      return begin_anew("is of another model, text or set of options");
    const DiagnosisPlace stored = place_of(file);
    if (!sums_from_json(file.at("sums"), sums)) return begin_anew("does not fit this diagnosis");
    place = stored;
    return true;
  } catch (const json::exception&) {
    return begin_anew("is damaged");
  }
}

std::optional<DiagnosisPlace> DiagnosisState::place() const {
  if (!kept() || !std::filesystem::exists(path_)) return std::nullopt;
  try {
    const json file = json::from_cbor(read_text_file(path_));
    if (file.at("version") != kVersion || file.at("fingerprint") != fingerprint_) return std::nullopt;
    return place_of(file);
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

void DiagnosisState::save(const DiagnosisPlace& place, const DiagnosisSums& sums) const {
  if (!kept()) return;
  const json file{{"version", kVersion},
                  {"fingerprint", fingerprint_},
                  {"place", {place.pass_rows, place.pass, static_cast<int>(place.stage), place.item}},
                  {"sums", sums_to_json(sums)}};
  const std::vector<uint8_t> bytes = json::to_cbor(file);
  write_text_file(path_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string diagnosis_fingerprint(const TokenSequences& sequences, const DiagnosisOptions& o, DType dtype) {
  std::string text = o.model_identity + std::string(dtype_name(dtype));
  for (const std::string& metric : o.metrics) text += " " + metric;
  for (const uint64_t n :
       {uint64_t{o.probes}, o.seed, o.permutation_tokens, o.lens_tokens, uint64_t{sequences.size()}})
    text += " " + std::to_string(n);
  for (const auto& sequence : sequences) {
    text += "\n";
    text.append(reinterpret_cast<const char*>(sequence.data()), sequence.size() * sizeof(int32_t));
  }
  return digest(text);
}

template <class W>
std::optional<size_t> kept_pass_rows(const TokenSequences& sequences, const DiagnosisOptions& options) {
  const DiagnosisState state(options.state, diagnosis_fingerprint(sequences, options, dtype_of<W>()));
  const std::optional<DiagnosisPlace> place = state.place();
  return place ? std::optional<size_t>(place->pass_rows) : std::nullopt;
}

void remove_diagnosis_state(const DiagnosisOptions& options) {
  std::error_code ignored;
  if (!options.state.empty()) std::filesystem::remove(options.state, ignored);
}

template std::optional<size_t> kept_pass_rows<double>(const TokenSequences&, const DiagnosisOptions&);
template std::optional<size_t> kept_pass_rows<float>(const TokenSequences&, const DiagnosisOptions&);
template std::optional<size_t> kept_pass_rows<bf16>(const TokenSequences&, const DiagnosisOptions&);

}  // namespace fathom
