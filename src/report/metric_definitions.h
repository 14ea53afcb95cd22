#pragma once
// What each number of a diagnosis means, in words and as a formula, and where it comes from. Pages show these
// texts beside the numbers; docs/metrics.md has the same ones, held to this table by a test.

#include <span>
#include <string>
#include <string_view>

namespace fathom {

/// One row of the table; a row may define several metrics that belong together.
struct MetricDefinition {
  std::string_view keys;     ///< The JSON keys of `fathom probe` and `fathom prune`, separated by ", ".
  std::string_view name;     ///< As docs/metrics.md calls it.
  std::string_view formula;  ///< One line; _{..} and ^{..}, or _x and ^x, stand for sub- and superscripts.
  std::string_view text;
  std::string_view source;  ///< "" for what is common knowledge.

  /// True where `key` is one of `keys`.
  bool defines(std::string_view key) const;
};

/// All definitions, in the order in which a page lists them.
std::span<const MetricDefinition> metric_definitions();

/// The place in metric_definitions() of the definition of `key`. Throws std::logic_error where there is none.
size_t metric_definition_index(std::string_view key);

}  // namespace fathom
