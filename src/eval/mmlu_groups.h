#pragma once
// The four groups that lm-evaluation-harness puts MMLU's subjects into (its tasks mmlu_stem, mmlu_humanities,
// mmlu_social_sciences and mmlu_other).

#include <string>

namespace fathom {

/// "stem", "humanities", "social_sciences"; "other" for the rest, and for a subject that is none of MMLU's.
std::string mmlu_group(const std::string& subject);

}  // namespace fathom
