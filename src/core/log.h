#pragma once
// Messages of the library for people. The library never prints: src/cli installs a sink (the terminal and
// log.txt).

#include <functional>
#include <string>

namespace fathom {

enum class LogLevel { kInfo, kWarning };
using LogSink = std::function<void(LogLevel, const std::string&)>;

/// Replaces the sink and returns the old one; the default drops everything. Not thread-safe against log().
LogSink set_log_sink(LogSink sink);
void log_info(const std::string& message);
void log_warning(const std::string& message);

}  // namespace fathom
