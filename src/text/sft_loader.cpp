#include "text/sft_loader.h"

#include <algorithm>
#include <set>

#include <xxhash.h>

#include "core/error.h"
#include "core/rng.h"
#include "text/loader.h"

namespace fathom {
namespace {

size_t positions(const SftExample& example) { return example.ids.size() - 1; }

uint64_t count_tokens(const std::vector<SftExample>& examples) {
  uint64_t count = 0;
  for (const SftExample& example : examples) count += positions(example);
  return count;
}

uint64_t count_targets(const std::vector<SftExample>& examples) {
  uint64_t count = 0;
  for (const SftExample& example : examples)
    count += static_cast<uint64_t>(std::count(example.scored.begin(), example.scored.end(), 1));
  return count;
}

uint64_t epoch_key(uint64_t seed, uint64_t epoch) {
  return mix64(seed ^ mix64(epoch + 0x9e3779b97f4a7c15ull));
}

}  // namespace

SftLoader::SftLoader(std::vector<SftExample> training, std::vector<SftExample> validation, size_t seq,
                     uint64_t seed, int32_t pad_id)
    : seq_(seq), seed_(seed), pad_id_(pad_id) {
  if (seq == 0) usage_error("a sequence length of 0", "give --seq 1 or more");
  if (training.empty())
    fail("there is no example to train on", "give more examples, or a smaller share for validation");
  training_ = pack(std::move(training), seq);
  validation_ = pack(std::move(validation), seq);
}

SftLoader::Packing SftLoader::pack(std::vector<SftExample> examples, size_t seq) {
  Packing packing;
  std::stable_sort(examples.begin(), examples.end(),
                   [](const auto& a, const auto& b) { return a.ids.size() > b.ids.size(); });
  std::set<std::pair<size_t, size_t>> open;  // windows with room: (positions that are left, window)
  for (size_t i = 0; i < examples.size(); ++i) {
    if (examples[i].ids.size() < 2 || positions(examples[i]) > seq)
      fail("an example of " + std::to_string(examples[i].ids.size()) + " tokens for a window of " +
           std::to_string(seq));
    const size_t length = positions(examples[i]);
    const bool is_first = i == 0 || packing.places.back().length != length;
    packing.places.push_back({length, is_first ? i : packing.places.back().first, 0});
    ++packing.places[packing.places.back().first].count;
    auto window = open.lower_bound({length, 0});  // the fullest one that has room
    std::pair<size_t, size_t> room{seq, packing.windows.size()};
    if (window != open.end()) {
      room = *window;
      open.erase(window);
    } else {
      packing.windows.emplace_back();
    }
    packing.windows[room.second].push_back(i);
    if (room.first > length) open.insert({room.first - length, room.second});
  }
  for (Place& place : packing.places) place.count = packing.places[place.first].count;
  packing.examples = std::move(examples);
  return packing;
}

const SftExample& SftLoader::dealt(size_t place, uint64_t epoch) const {
  const Place& p = training_.places[place];
  const Permutation deal(p.count, mix64(epoch_key(seed_, epoch) ^ mix64(p.length)));
  return training_.examples[p.first + deal(place - p.first)];
}

void SftLoader::put(const SftExample& example, size_t at, const Rows& rows) const {
  for (size_t i = 0; i < positions(example); ++i) {
    rows.inputs[at + i] = example.ids[i];
    rows.targets[at + i] = example.scored[i + 1] ? example.ids[i + 1] : -1;
    rows.first_key[at + i] = static_cast<int32_t>(at);
  }
}

void SftLoader::pad(size_t from, const Rows& rows) const {
  for (size_t i = from; i < seq_; ++i) {
    rows.inputs[i] = pad_id_;
    rows.targets[i] = -1;
    rows.first_key[i] = static_cast<int32_t>(i);
  }
}

void SftLoader::window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key) const {
  const uint64_t epoch = index / windows_per_epoch();
  const Permutation order(windows_per_epoch(), epoch_key(seed_, epoch));
  const Rows rows{inputs, targets, first_key};
  size_t at = 0;
  for (const size_t place : training_.windows[order(index % windows_per_epoch())]) {
    put(dealt(place, epoch), at, rows);
    at += training_.places[place].length;
  }
  pad(at, rows);
}

void SftLoader::validation_window(uint64_t index, int32_t* inputs, int32_t* targets,
                                  int32_t* first_key) const {
  const Rows rows{inputs, targets, first_key};
  size_t at = 0;
  for (const size_t place : validation_.windows[index]) {
    put(validation_.examples[place], at, rows);
    at += validation_.places[place].length;
  }
  pad(at, rows);
}

uint64_t SftLoader::tokens() const { return count_tokens(training_.examples); }
uint64_t SftLoader::targets() const { return count_targets(training_.examples); }
uint64_t SftLoader::validation_tokens() const { return count_tokens(validation_.examples); }
uint64_t SftLoader::validation_targets() const { return count_targets(validation_.examples); }

double SftLoader::fill() const {
  return static_cast<double>(tokens()) / static_cast<double>(windows_per_epoch() * seq_);
}

uint64_t SftLoader::fingerprint() const {
  uint64_t hash = mix64(seed_ ^ mix64(seq_));
  for (const Packing* packing : {&training_, &validation_}) {
    hash = mix64(hash ^ packing->examples.size());
    for (const SftExample& example : packing->examples) {
      hash = XXH3_64bits_withSeed(example.ids.data(), example.ids.size() * sizeof(int32_t), hash);
      hash = XXH3_64bits_withSeed(example.scored.data(), example.scored.size(), hash);
    }
  }
  return hash;
}

}  // namespace fathom
