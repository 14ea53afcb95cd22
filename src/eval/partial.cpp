#include "eval/partial.h"

#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "text/text_error.h"

namespace fathom {
namespace {

// Often enough that little is lost, seldom enough that writing costs nothing.
constexpr std::chrono::seconds kInterval{20};

// JSON has no infinities; a number that is none must come back as it was.
nlohmann::json to_json(double value) {
  if (std::isfinite(value)) return value;  // printed so that the same bits are read back
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}
double from_json(const nlohmann::json& json) {
  if (json.is_number()) return json.get<double>();
  const auto text = json.get<std::string>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  return text == "inf" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
}

}  // namespace

PartialResults::PartialResults(std::filesystem::path path, const std::string& fingerprint)
    : path_(std::move(path)), fingerprint_(fingerprint) {
  if (path_.empty() || !std::filesystem::exists(path_)) return;
  try {
    const nlohmann::json json = parse_json(read_text_file(path_, size_t{1} << 30));
    if (json.at("fingerprint") != fingerprint) {
      fail_in(path_, "holds the partial results of another run (another model, task, data or setting)",
              "delete it, or write to another --json");
    }
    for (const auto& [task, items] : json.at("tasks").items()) {
      for (const nlohmann::json& item : items) {
        std::vector<double> values;
        for (const nlohmann::json& value : item) values.push_back(from_json(value));
        tasks_[task].push_back(std::move(values));
      }
    }
  } catch (const nlohmann::json::exception&) {
    fail_in(path_, "is not a file of partial results", "delete it");
  }
}

size_t PartialResults::items() const {
  size_t n = 0;
  for (const auto& [task, items] : tasks_) n += items.size();
  return n;
}

void PartialResults::save_if_due() {
  if (std::chrono::steady_clock::now() - saved_ >= kInterval) save();
}

void PartialResults::save() {
  if (path_.empty()) return;
  nlohmann::json tasks = nlohmann::json::object();
  for (const auto& [task, items] : tasks_) {
    nlohmann::json& list = tasks[task] = nlohmann::json::array();
    for (const std::vector<double>& item : items) {
      nlohmann::json values = nlohmann::json::array();
      for (const double value : item) values.push_back(to_json(value));
      list.push_back(std::move(values));
    }
  }
  write_text_file(path_, nlohmann::json{{"fingerprint", fingerprint_}, {"tasks", tasks}}.dump() + "\n");
  saved_ = std::chrono::steady_clock::now();
}

void PartialResults::remove() {
  if (!path_.empty()) std::filesystem::remove(path_);
}

}  // namespace fathom
