#pragma once
// Byte-pair encoding at speed, with SentencePiece's result.
//
// SentencePiece merges, over the whole text, the adjacent pair whose concatenation is the most important
// piece, the leftmost on a tie, until none is left (Sennrich et al. 2016, arXiv:1508.07909;
// google/sentencepiece, src/bpe_model.cc). Two facts make that fast without changing a single id. A merge
// can't cross a place where no piece holds the two bytes side by side, so the text is cut there and each part
// is encoded on its own. And parts repeat (they are mostly words), so that a small cache answers for nearly
// all.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/id_table.h"
#include "text/merges.h"
#include "text/word_cache.h"

namespace fathom {

class BpeEncoder {
 public:
  /// `pieces` as in vocabulary.h (id 259 on; spaces as U+2581; checked by check_pieces).
  explicit BpeEncoder(const std::vector<std::string>& pieces);

  /// Appends the ids of `text` to `out`. What is no piece becomes byte tokens: characters outside the
  /// vocabulary, bytes that are not UTF-8, and a U+2581 in the text itself, which the pieces use for the
  /// space.
  void encode(std::string_view text, WordCache& cache, std::vector<int32_t>& out) const;

 private:
  bool joins(unsigned char left, unsigned char right) const {
    return joins_[left][right >> 6] >> (right & 63) & 1;
  }
  void learn_joins(const std::vector<std::string>& pieces);
  void learn_pairs(const std::vector<std::string>& pieces);
  void split_characters(std::string_view part, std::vector<int32_t>& ids) const;
  void encode_part(std::string_view part, std::vector<int32_t>& out) const;

  std::array<std::array<uint64_t, 4>, 256>
      joins_{};         // [left byte]: the set of right bytes that may follow in a piece
  IdTable characters_;  // UTF-8 bytes of a character -> id
  MergeTable pairs_;    // an id is a rank as well
};

}  // namespace fathom
