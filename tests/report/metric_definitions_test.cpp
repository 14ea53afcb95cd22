#include "report/metric_definitions.h"

#include <stdexcept>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "core/file.h"

namespace fathom {
namespace {

TEST(MetricDefinitions, AreThoseOfTheDocs) {
  const std::string docs = read_text_file(FATHOM_SOURCE_DIR "/docs/metrics.md");
  for (const MetricDefinition& d : metric_definitions()) {
    const std::string source = d.source.empty() ? " " : fmt::format(" {} ", d.source);
    EXPECT_THAT(docs, testing::HasSubstr(fmt::format("| {} | {} |{}|\n", d.name, d.text, source)));
    EXPECT_THAT(docs, testing::HasSubstr(fmt::format("| {} | `{}` | `{}` |\n", d.name, d.keys, d.formula)));
  }
}

TEST(MetricDefinitions, AreFoundByAnyOfTheirKeys) {
  EXPECT_EQ(metric_definition_index("variance"), 0u);
  const auto all = metric_definitions();
  EXPECT_EQ(all[metric_definition_index("mlp_cosine")].name, "attention / MLP cosine");
  EXPECT_EQ(metric_definition_index("lens_kl"), metric_definition_index("lens_loss"));
  EXPECT_FALSE(all[0].defines("var"));
  EXPECT_THROW(metric_definition_index("nonsense"), std::logic_error);
}

}  // namespace
}  // namespace fathom
