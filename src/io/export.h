#pragma once
// A checkpoint in another format, type or scheme, checked before it has its name.
//
// Goals: one tensor in memory at a time, so that what can be read can be exported; nothing under the target's
// name unless it was read back and computes the source's logits. Non-goals: tokenizers (io knows no text: the
// caller gives their files or metadata), sharding.

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/progress.h"
#include "io/gguf_writer.h"
#include "io/parameter_reader.h"

namespace fathom {

enum class ExportFormat { kHuggingFace, kGguf };

struct ExportOptions {
  ExportFormat format = ExportFormat::kHuggingFace;
  std::optional<StoredType> type;  ///< of matrices; nothing: the narrowest that loses nothing
  bool fold = false;               ///< see NormFold
  std::string name;                ///< general.name
  std::vector<std::pair<std::string, std::string>> files =
      {};                    ///< Hugging Face: more files, name and content
  GgufPairs tokenizer = {};  ///< GGUF: tokenizer.*
  Progress* progress = nullptr;
};

struct ExportResult {
  std::string model_type;               ///< Hugging Face's, or general.architecture
  StoredType type;                      ///< of matrices
  std::vector<std::string> kept_wider;  ///< tensors whose rows are no whole blocks of Q8_0: F16 instead
  size_t parameters = 0;
  uint64_t bytes = 0;  ///< of the file with the weights
  /// Largest deviation of the logits that the export computes, read back, from those of the source computed
  /// in fp32 from the same stored weights; relative to the largest logit.
  double deviation = 0;
  /// The same against the source as it stands: what the type's rounding costs.
  double deviation_from_source = 0;
};

/// Beyond this an export is not what its source is.
inline constexpr double kExportTolerance = 1e-3;

/// The type that export_model takes where none is given: that of the source's matrices where all have the
/// same one and the format holds it, else F32.
StoredType export_type(const ParameterReader& reader, ExportFormat format);

/// Writes `model` (as resolve_model gives it) to `out`: a new or empty folder, or a new file. It is written
/// under another name, read back, its logits on random tokens compared, and renamed. Errors: Error where
/// `out` is taken, where the format or the type can't hold the model (naming what can), where the logits
/// differ.
ExportResult export_model(const std::filesystem::path& model, const std::filesystem::path& out,
                          const ExportOptions& options);

}  // namespace fathom
