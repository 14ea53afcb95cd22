#pragma once
// Items of a task as requests to a model: which ids are the context, which the continuation.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "eval/scoring.h"
#include "text/task.h"
#include "text/tokenizer.h"

namespace fathom {

/// A context and a continuation as ids. As lm-evaluation-harness does: white space at the context's end moves
/// to the continuation; the two are tokenized as one text, and the continuation is what lies beyond the
/// context's own number of tokens; a BOS stands in front where the tokenizer adds one; an empty context is
/// the BOS, or the EOS where there is none; of a text longer than the model's context the last max_length + 1
/// ids are kept. `truncated` says whether ids were dropped. Names of special tokens in the text stand for the
/// tokens. Errors: Error where no token is left to score, or the continuation alone is longer than
/// max_length.
ScoreRequest encode_request(const Tokenizer& tokenizer, const std::string& context,
                            const std::string& continuation, size_t max_length, bool& truncated);

struct EvaluationSettings {
  std::string split;       ///< of the items; "": the task's own
  size_t limit = 0;        ///< items scored, the first ones (of each subject); 0: all
  size_t num_fewshot = 0;  ///< examples in front of each question
};

/// An item, ready to be scored.
struct PreparedItem {
  std::string id, subject;
  size_t gold = 0;
  std::vector<size_t> characters, bytes;  ///< lengths of the choices
  std::vector<ScoreRequest> requests;     ///< one a choice
};

struct PreparedTask {
  const Task* task = nullptr;
  std::filesystem::path file, few_shot_file;  ///< the second is empty without examples
  std::vector<PreparedItem> items;
  size_t truncated = 0;  ///< requests that lost ids at their start

  std::vector<std::vector<ScoreRequest>> groups() const;
};

/// Reads the items of a task from `folder`, chooses their examples, and encodes them. Examples come from the
/// task's few-shot split; where that file is missing, from the validation split, and at last from the items
/// themselves. Errors: Error (file, line) where a file is missing or an item is bad.
PreparedTask prepare_task(const std::filesystem::path& folder, const Task& task,
                          const EvaluationSettings& settings, const Tokenizer& tokenizer, size_t max_length);

}  // namespace fathom
