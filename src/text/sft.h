#pragma once
// Examples for supervised fine-tuning: lines of JSON to token ids, with the mask that says which of them are
// targets.
//
// Forms of a line:
//   {"prompt": "...", "response": "..."}    the two texts joined as they are, and an EOS ("completion" will
//   do)
//   {"messages": [{"role", "content"}...]}  a conversation, through the model's chat template; "tools" and
//                                           "chat_template_kwargs" beside it reach the template
//   {"query", "choices", "gold"}            a question of an evaluation task, rendered as `fathom eval` does,
//                                           with the right choice as the response, and an EOS
// A target is a token of a response: the text of the answer (of an assistant's turn) and the EOS or
// end-of-turn token behind it; nothing else ever is. Texts are tokenized together, as they are met when a
// model is asked; a token that begins in the prompt and ends in the response belongs to the response.
//
// Goals: the ids that the model meets when it is asked; every line that is not used is counted and said.
// Non-goals: images, weights of turns, preference pairs.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace fathom {

class ChatTemplate;

struct SftExample {
  std::vector<int32_t> ids;
  /// As long as ids: 1 where ids[i] is a target. scored[0] is 0 (nothing comes before it), another is 1.
  std::vector<uint8_t> scored;

  bool operator==(const SftExample&) const = default;
};

struct SftOptions {
  size_t seq = 1024;  ///< positions of a window; an example has at most seq + 1 ids
  /// By which a {"query", ...} line is rendered; "": what the file's name begins with, as in
  /// arc_easy.train.jsonl.
  std::string task = {};
  std::string system_prompt = {};  ///< in front of conversations that have no system message; "": none
  bool chat_prompts = false;       ///< a {"prompt", "response"} line is a conversation of one question
  bool last_turn_only = false;     ///< of a conversation, only the last answer is a target
  /// Seconds since 1970 (UTC), for templates that write the date: the time at which a run began, so that it
  /// resumes with the same ids.
  std::optional<int64_t> now = {};
};

/// What reading gave.
struct SftReport {
  uint64_t lines = 0;                                      ///< that are not blank
  uint64_t prompts = 0, conversations = 0, questions = 0;  ///< by form; their sum is `lines`
  uint64_t examples = 0;                                   ///< that are used: lines less those dropped
  uint64_t truncated = 0;                                  ///< of these, cut on the left to fit
  uint64_t dropped = 0;              ///< whose (last) response alone is longer than a window
  uint64_t tokens = 0, targets = 0;  ///< of the examples: ids, and those of them that are scored
  uint64_t longest = 0;              ///< ids of the longest example before it was cut

  /// One line for people: "2251 examples (...), 96310 tokens, 12873 of them targets; 3 cut on the left to
  /// 1025 tokens".
  std::string text() const;
};

/// Reads the lines of `paths` (JSON lines, plain or as .gz or .zst) in order. `chat` renders conversations;
/// null is an error where there is one. What stands behind the last target is left out. Too long an example
/// loses its beginning, as lm-evaluation-harness cuts (the last seq + 1 ids stay); where the last response
/// itself would lose a token, or all that stands before it, the example is dropped instead. `report` is
/// filled. Errors: Error (file and line) for a line that is not valid JSON or of no known form, a gold that
/// is missing or out of range, an empty response, a conversation without an answer, a template that fails on
/// it or renders a turn otherwise once others follow; Error for files without any example. Lines are rendered
/// and tokenized on all threads; what comes out does not depend on their number.
std::vector<SftExample> read_sft_examples(const std::vector<std::filesystem::path>& paths,
                                          const Tokenizer& tokenizer, const ChatTemplate* chat,
                                          const SftOptions& options, SftReport& report);

/// Takes round(fraction * n) examples, chosen by the seed, for validation: {training, validation}, each in
/// the order of the file. At least one on both sides where fraction > 0 and n > 1. Errors: Error (usage) for
/// a fraction outside [0, 1); Error where n is 1 and fraction > 0.
std::pair<std::vector<SftExample>, std::vector<SftExample>> split_examples(std::vector<SftExample> examples,
                                                                           double fraction, uint64_t seed);

}  // namespace fathom
