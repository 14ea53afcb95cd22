#include "core/log.h"

#include <utility>

namespace fathom {
namespace {
LogSink& sink() {
  static LogSink s = [](LogLevel, const std::string&) {};
  return s;
}
}  // namespace

LogSink set_log_sink(LogSink s) { return std::exchange(sink(), std::move(s)); }
void log_info(const std::string& message) { sink()(LogLevel::kInfo, message); }
void log_warning(const std::string& message) { sink()(LogLevel::kWarning, message); }

}  // namespace fathom
