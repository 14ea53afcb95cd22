#pragma once
// A run folder: who may use it, where its files are, its log.txt.

#include <filesystem>
#include <string>

#include "core/log.h"

namespace fathom {

/// Errors: those of refuse_taken where `path` holds another run or other files; Error (usage) where with
/// `resume` it holds no run. Changes nothing.
void check_run_folder(const std::filesystem::path& path, bool resume);

/// A run folder, this process's alone until destruction.
class RunFolder {
 public:
  /// Makes the folder, or takes an empty one; with `resume`, opens one that holds a run. Errors: those of
  /// check_run_folder; Error where another process trains in it, or it can't be written.
  RunFolder(const std::filesystem::path& path, bool resume);
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  ~RunFolder();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path run_toml() const { return path_ / "run.toml"; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  /// Of a run on examples: the model's tokenizer, as files.
  std::filesystem::path tokenizer() const;

  /// Appends a line, with the time, to log.txt.
  void log(const std::string& message);

 private:
  std::filesystem::path path_;
  int lock_ = -1, log_ = -1;
};

/// While it lives, messages of log_info and log_warning go to log.txt too.
class LogToRun {
 public:
  explicit LogToRun(RunFolder& folder);
  LogToRun(const LogToRun&) = delete;
  LogToRun& operator=(const LogToRun&) = delete;
  ~LogToRun();

 private:
  LogSink before_;
};

/// Now, in UTC: "2025-02-09T18:30:00Z".
std::string utc_now();

}  // namespace fathom
