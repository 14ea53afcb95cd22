#include "eval/mmlu_groups.h"

#include <set>
#include <string_view>

namespace fathom {
namespace {

using Subjects = std::set<std::string_view>;

const Subjects& stem() {
  static const Subjects subjects{"abstract_algebra",
                                 "anatomy",
                                 "astronomy",
                                 "college_biology",
                                 "college_chemistry",
                                 "college_computer_science",
                                 "college_mathematics",
                                 "college_physics",
                                 "computer_security",
                                 "conceptual_physics",
                                 "electrical_engineering",
                                 "elementary_mathematics",
                                 "high_school_biology",
                                 "high_school_chemistry",
                                 "high_school_computer_science",
                                 "high_school_mathematics",
                                 "high_school_physics",
                                 "high_school_statistics",
                                 "machine_learning"};
  return subjects;
}

const Subjects& humanities() {
  static const Subjects subjects{"formal_logic",
                                 "high_school_european_history",
                                 "high_school_us_history",
                                 "high_school_world_history",
                                 "international_law",
                                 "jurisprudence",
                                 "logical_fallacies",
                                 "moral_disputes",
                                 "moral_scenarios",
                                 "philosophy",
                                 "prehistory",
                                 "professional_law",
                                 "world_religions"};
  return subjects;
}

const Subjects& social_sciences() {
  static const Subjects subjects{"econometrics",
                                 "high_school_geography",
                                 "high_school_government_and_politics",
                                 "high_school_macroeconomics",
                                 "high_school_microeconomics",
                                 "high_school_psychology",
                                 "human_sexuality",
                                 "professional_psychology",
                                 "public_relations",
                                 "security_studies",
                                 "sociology",
                                 "us_foreign_policy"};
  return subjects;
}

}  // namespace

std::string mmlu_group(const std::string& subject) {
  if (stem().contains(subject)) return "stem";
  if (humanities().contains(subject)) return "humanities";
  return social_sciences().contains(subject) ? "social_sciences" : "other";
}

}  // namespace fathom
