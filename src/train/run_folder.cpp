#include "train/run_folder.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/error.h"
#include "core/temporary_path.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

constexpr const char *kLockName = ".lock", *kTokenizerName = "tokenizer";

[[noreturn]] void refuse(const fs::path& path, ErrorCode code, std::string what, std::string hint) {
  throw Error(code, {.what = std::move(what), .path = path.string(), .hint = std::move(hint)});
}

// A start that was killed before its run.toml stood leaves the lock, perhaps half of that file, and of a run
// on examples the tokenizer.
bool holds_only_leftovers(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != kLockName && name != kTokenizerName && name != std::string(kTokenizerName) + ".partial" &&
        !name.starts_with("run.toml.tmp-"))
      return false;
  }
  return true;
}

}  // namespace

void check_run_folder(const fs::path& path, bool resume) {
  std::error_code error;
  const bool exists = fs::exists(path, error);
  const bool holds_run = exists && fs::exists(path / "run.toml");
  if (resume && !holds_run) {
    refuse(path, ErrorCode::kUsage, "holds no run to resume (no run.toml)",
           "check --out, or start a run without --resume");
  }
  if (resume) return;
  if (holds_run)
    refuse_taken(path, "holds another run", "continue it with --resume, or choose another --out");
  if (!fs::is_directory(path, error) || !holds_only_leftovers(path)) require_free(path);
}

RunFolder::RunFolder(const fs::path& path, bool resume) : path_(path) {
  check_run_folder(path_, resume);
  std::error_code error;
  fs::create_directories(path_, error);
  if (error)
    refuse(path_, ErrorCode::kFailed, "cannot create the folder: " + error.message(), "choose another --out");
  lock_ = ::open((path_ / kLockName).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0)
    refuse(path_, ErrorCode::kFailed, "cannot write into the folder: " + std::string(std::strerror(errno)),
           "check its permissions");
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const int why = errno;
    ::close(lock_);
    if (why == EWOULDBLOCK)
      refuse(path_, ErrorCode::kFailed, "another process trains in this folder", "wait for it, or stop it");
    refuse(path_, ErrorCode::kFailed, "cannot lock the folder: " + std::string(std::strerror(why)),
           "put the run on a file system that has locks (flock)");
  }
}

std::filesystem::path RunFolder::tokenizer() const { return path_ / kTokenizerName; }

RunFolder::~RunFolder() {
  if (log_ >= 0) ::close(log_);
  ::close(lock_);
}

void RunFolder::log(const std::string& message) {
  // Opened late: the folder counts as a run once its run.toml stands.
  if (log_ < 0) log_ = ::open((path_ / "log.txt").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const std::string line = utc_now() + "  " + message + "\n";
  // A log that can't be written is no reason to stop a run: what matters fails elsewhere.
  if (log_ >= 0 && ::write(log_, line.data(), line.size()) < 0) return;
}

LogToRun::LogToRun(RunFolder& folder) {
  before_ = set_log_sink({});
  set_log_sink([this, &folder](LogLevel level, const std::string& message) {
    folder.log((level == LogLevel::kWarning ? "warning: " : "") + message);
    if (before_) before_(level, message);
  });
}

LogToRun::~LogToRun() { set_log_sink(std::move(before_)); }

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
}

}  // namespace fathom
