// The progress bar: redrawn in place on a terminal, a plain line now and then where stderr is a file or a
// pipe.

#include <algorithm>
#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/command.h"

namespace fathom::cli {
namespace {

using Clock = std::chrono::steady_clock;

class TerminalProgress final : public Progress {
 public:
  explicit TerminalProgress(bool if_long) : if_long_(if_long) {}
  TerminalProgress(const TerminalProgress&) = delete;
  TerminalProgress& operator=(const TerminalProgress&) = delete;
  // Work that failed leaves its bar on a line of its own, so that the error starts on the next.
  ~TerminalProgress() override {
    if (terminal_ && drawn_) std::fputc('\n', stderr);
  }

  void begin(const std::string& label, uint64_t total, const std::string& unit) override {
    label_ = label;
    total_ = total;
    unit_ = unit;
    done_ = first_ = 0;
    started_ = false;
    note_.clear();
    start_ = last_drawn_ = Clock::now();
  }

  void update(uint64_t done, const std::string& note) override {
    if (!started_) {  // A resumed run starts at done > 0, which must not count towards the rate.
      started_ = true;
      first_ = done > 1 ? done : 0;
      if (first_ > 0) start_ = Clock::now();
    }
    done_ = done;
    if (!note.empty()) note_ = note;
    const double since = seconds(Clock::now() - last_drawn_);
    if (since < (terminal_ ? 0.1 : 10.0)) return;
    if (!terminal_ && total_ > 0 && done_ >= total_) return;  // `end` writes that line
    last_drawn_ = Clock::now();
    draw();
    drawn_ = true;
  }

  void end(const std::string& note) override {
    if (!note.empty()) note_ = note;
    if (if_long_ && !drawn_) return;
    draw();
    if (terminal_) std::fputc('\n', stderr);
    drawn_ = false;
  }

 private:
  static double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

  void draw() const {
    const double elapsed = seconds(Clock::now() - start_);
    const double rate = elapsed > 0 ? static_cast<double>(done_ - first_) / elapsed : 0;
    const double share =
        total_ > 0 ? std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)) : 0.0;
    std::string line;
    if (total_ > 0) {
      line += fmt::format("{:3.0f}% {}/{} {}", share * 100, count_text(static_cast<double>(done_)),
                          count_text(static_cast<double>(total_)), unit_);
    } else {
      line += fmt::format("{} {}", count_text(static_cast<double>(done_)), unit_);
    }
    if (rate > 0)
      line += rate < 100 ? fmt::format("  {:.2f}/s", rate) : fmt::format("  {}/s", count_text(rate));
    if (total_ > done_ && rate > 0) {
      line += "  left " + seconds_text(static_cast<double>(total_ - done_) / rate);
    } else {
      line += "  in " + seconds_text(elapsed);
    }
    if (!note_.empty()) line += "  " + note_;
    if (!terminal_) {
      std::fputs((label_ + " " + line + "\n").c_str(), stderr);
      return;
    }
    winsize size{};
    const size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    // The bar takes what the words leave.
    const size_t words = label_.size() + 1 + line.size() + 3;
    std::string bar;
    if (total_ > 0 && words + kShortestBar < columns) {
      const size_t length = std::min(kBar, columns - 1 - words);
      bar.assign(length, '.');
      bar.replace(0, static_cast<size_t>(share * static_cast<double>(length)),
                  static_cast<size_t>(share * static_cast<double>(length)), '#');
      bar = "[" + bar + "] ";
    }
    line = label_ + " " + bar + line;
    if (line.size() > columns - 1) line.resize(columns - 1);
    std::fputs(("\r" + line + "\x1b[K").c_str(), stderr);
    std::fflush(stderr);
  }

  static constexpr size_t kBar = 20, kShortestBar = 5;
  const bool if_long_;
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
  std::string label_, unit_, note_;
  uint64_t total_ = 0, done_ = 0, first_ = 0;
  bool started_ = false, drawn_ = false;
  Clock::time_point start_, last_drawn_;
};

}  // namespace

std::unique_ptr<Progress> make_progress() { return std::make_unique<TerminalProgress>(false); }
std::unique_ptr<Progress> make_progress_if_long() { return std::make_unique<TerminalProgress>(true); }

}  // namespace fathom::cli
