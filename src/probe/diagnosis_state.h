#pragma once
// How far a diagnosis has come, on the disk: so that one that was stopped goes on where it was.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "probe/diagnosis.h"
#include "probe/sequence_mean.h"

namespace fathom {

/// The parts of a diagnosis, in the order in which each pass over a part of the text does them.
enum class DiagnosisStage {
  kForward,
  kAngles,
  kLens,
  kRemoval,
  kPermutation,
  kIdentity,
  kGradients,
  kUsefulness
};

/// What comes next: the part of the text, the stage, and in it the layer (or the pair of layers).
struct DiagnosisPlace {
  uint64_t pass_rows = 0;  ///< how the text is cut into passes: SequenceBatches::by_rows
  uint64_t pass = 0;
  DiagnosisStage stage = DiagnosisStage::kForward;
  uint64_t item = 0;
};

/// Everything that has been added up so far, by reference: what is written and read back.
struct DiagnosisSums {
  std::vector<std::vector<SequenceMean>*> means;
  std::vector<uint64_t*> counts;
  std::vector<double>* gradient_norms = nullptr;
};

/// A file with place and sums. Written whole under a temporary name and renamed; what it holds belongs to one
/// fingerprint (model, text, options), and a file of another is not taken up.
class DiagnosisState {
 public:
  /// An empty path: nothing is kept.
  DiagnosisState(std::filesystem::path path, std::string fingerprint)
      : path_(std::move(path)), fingerprint_(std::move(fingerprint)) {}
  bool kept() const { return !path_.empty(); }
  const std::filesystem::path& path() const { return path_; }

  /// Reads place and sums back; false where there is no file, or it is of another diagnosis (which is logged)
  /// or damaged (the same). Errors: none.
  bool load(DiagnosisPlace& place, const DiagnosisSums& sums) const;
  /// The place alone; nothing where load would give none, without a word.
  std::optional<DiagnosisPlace> place() const;
  /// Errors: Error where the file cannot be written.
  void save(const DiagnosisPlace& place, const DiagnosisSums& sums) const;

 private:
  std::filesystem::path path_;
  std::string fingerprint_;
};

/// What must be the same for a diagnosis to go on: the model, the text, and all that changes a result. How
/// the text is cut into passes does not, and hangs on the memory of the moment: the state has it beside this.
std::string diagnosis_fingerprint(const TokenSequences& sequences, const DiagnosisOptions& options,
                                  DType dtype);

}  // namespace fathom
