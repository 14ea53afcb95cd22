#include "text/loader.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "core/rng.h"
#include "text/text_error.h"

namespace fathom {
namespace {

void find_first_keys(const int32_t* inputs, size_t seq, int32_t eos_id, int32_t* first_key) {
  int32_t first = 0;
  for (size_t i = 0; i < seq; ++i) {
    first_key[i] = first;
    if (inputs[i] == eos_id) first = static_cast<int32_t>(i) + 1;
  }
}

}  // namespace

Permutation::Permutation(uint64_t n, uint64_t key)
    : n_(n), key_(key), half_bits_(std::max(1u, (static_cast<unsigned>(std::bit_width(n - 1)) + 1) / 2)) {}

uint64_t Permutation::operator()(uint64_t index) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = index >> half_bits_, right = index & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t mixed = left ^ (mix64(mix64(key_ + round) ^ right) & mask);
      left = right;
      right = mixed;
    }
    index = left << half_bits_ | right;
  } while (index >= n_);
  return index;
}

TokenLoader::TokenLoader(const TokenData& data, size_t seq, uint64_t seed)
    : data_(data), seq_(seq), seed_(seed) {
  if (seq == 0) usage_error("a sequence length of 0", "give --seq 1 or more");
  const uint64_t train = data.train().size(), valid = data.valid().size();
  if (train < seq + 1) {
    fail_in(data.folder(),
            "holds " + std::to_string(train) + " training tokens, fewer than one window of " +
                std::to_string(seq + 1),
            "give more text, or a smaller --seq");
  }
  train_windows_ = (train - 1) / seq;
  valid_windows_ = valid < 2 ? 0 : (valid - 2) / seq + 1;
}

void TokenLoader::window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key) const {
  const uint64_t epoch = index / train_windows_;
  const Permutation order(train_windows_, mix64(seed_ ^ mix64(epoch + 0x9e3779b97f4a7c15ull)));
  const uint64_t begin = order(index % train_windows_) * seq_;
  data_.train().read(begin, seq_, inputs);
  data_.train().read(begin + 1, seq_, targets);
  if (first_key != nullptr) find_first_keys(inputs, seq_, data_.info().eos_id, first_key);
}

void TokenLoader::validation_window(uint64_t index, int32_t* inputs, int32_t* targets,
                                    int32_t* first_key) const {
  const uint64_t begin = index * seq_;
  const auto n = static_cast<size_t>(std::min<uint64_t>(seq_, data_.valid().size() - 1 - begin));
  data_.valid().read(begin, n, inputs);
  data_.valid().read(begin + 1, n, targets);
  std::fill(inputs + n, inputs + seq_, data_.info().eos_id);
  std::fill(targets + n, targets + seq_, -1);
  if (first_key != nullptr) find_first_keys(inputs, seq_, data_.info().eos_id, first_key);
}

}  // namespace fathom
