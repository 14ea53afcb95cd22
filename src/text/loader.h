#pragma once
// Training and validation windows out of token shards.
//
// A window holds seq input positions and their targets, the next tokens. Inputs never overlap: window w
// begins at token w * seq of the split. Training windows come in another order each epoch; the order is a
// keyed permutation that is computed, not stored, so that it costs no memory, and the window at any place of
// the run is found at once: where a run stands is one number.

#include <cstdint>

#include "text/dataset.h"

namespace fathom {

/// A bijection of [0, n): a four-round Feistel network over the smallest even number of bits, applied again
/// while the result is n or more (cycle walking; Black & Rogaway 2002, "Ciphers with arbitrary finite
/// domains"). Different keys give unrelated orders; it mixes well and is no cipher.
class Permutation {
 public:
  Permutation(uint64_t n, uint64_t key);
  /// Shapes: index in [0, n).
  uint64_t operator()(uint64_t index) const;

 private:
  uint64_t n_, key_;
  unsigned half_bits_;
};

class TokenLoader {
 public:
  /// `data` outlives the loader. Errors: Error where the training split is shorter than one window (seq + 1
  /// tokens).
  TokenLoader(const TokenData& data, size_t seq, uint64_t seed);

  uint64_t windows_per_epoch() const { return train_windows_; }

  /// Window number `index` of the run, counted from its start over all epochs; any index, in any order.
  /// Shapes: inputs, targets (seq); first_key (seq) or null: for each position the index, in the window, of
  /// the first position of its document (an EOS belongs to the document that it ends), for attention that
  /// does not cross documents. Errors: Error for an id outside the vocabulary.
  void window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t* first_key = nullptr) const;

  /// Validation windows, in the order of the text. The last one may be short: what is missing has target -1
  /// and the input EOS, so that every token but the first is scored exactly once.
  uint64_t validation_windows() const { return valid_windows_; }
  void validation_window(uint64_t index, int32_t* inputs, int32_t* targets,
                         int32_t* first_key = nullptr) const;

 private:
  const TokenData& data_;
  size_t seq_;
  uint64_t seed_, train_windows_, valid_windows_;
};

}  // namespace fathom
