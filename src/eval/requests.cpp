#include "eval/requests.h"

#include <algorithm>
#include <atomic>
#include <map>

#include "core/error.h"
#include "core/threads.h"
#include "eval/few_shot.h"
#include "text/text_error.h"
#include "text/white_space.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

int32_t prefix_id(const Tokenizer& tokenizer) {
  return tokenizer.bos_id() >= 0 ? tokenizer.bos_id() : tokenizer.required_eos_id();
}

std::vector<int32_t> encode_text(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids = tokenizer.encode(text, SpecialTokens::kParse);
  if (tokenizer.add_bos()) ids.insert(ids.begin(), tokenizer.bos_id());
  return ids;
}

// The first file of a task that has examples: its few-shot split, the validation split, the items themselves.
fs::path example_file(const fs::path& folder, const Task& task, const std::string& split) {
  for (const std::string& candidate : {std::string(task.few_shot_split), std::string("validation")}) {
    if (candidate == split) continue;
    const fs::path path = folder / (std::string(task.name) + "." + candidate + ".jsonl");
    if (fs::exists(path)) return path;
  }
  return task_file(folder, task, split);
}

// Indices of the first `limit` items, of each subject; 0: all.
std::vector<size_t> first_items(const std::vector<TaskItem>& items, const Task& task, size_t limit) {
  std::map<std::string, size_t> taken;
  std::vector<size_t> kept;
  for (size_t i = 0; i < items.size(); ++i) {
    const size_t before = taken[task.has_subjects ? subject_of(items[i]) : std::string()]++;
    if (limit == 0 || before < limit) kept.push_back(i);
  }
  return kept;
}

std::vector<RenderedItem> render_all(const Task& task, const std::vector<TaskItem>& items,
                                     const fs::path& path) {
  std::vector<RenderedItem> rendered(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    try {
      rendered[i] = render_item(task, items[i]);
    } catch (const Error& e) {
      fail_in(path, "item " + std::to_string(i + 1) + ": " + e.fields().what, "see docs/evaluation.md");
    }
  }
  return rendered;
}

/// The examples of each item, as indices into the pool.
std::vector<std::vector<size_t>> shots_of(const Task& task, const EvaluationSettings& settings,
                                          const std::vector<TaskItem>& items, const std::vector<size_t>& kept,
                                          const std::vector<TaskItem>& pool, bool same_split,
                                          const fs::path& file) {
  if (!task.has_subjects) {
    return choose_shots({.shots = settings.num_fewshot,
                         .pool = pool.size(),
                         .first = task.first_shots && !same_split,
                         .same_split = same_split,
                         .spare = task.spare_draw || same_split},
                        kept.size());
  }
  std::map<std::string, std::vector<size_t>> by_subject;
  for (size_t i = 0; i < pool.size(); ++i) by_subject[subject_of(pool[i])].push_back(i);
  std::vector<std::vector<size_t>> shots(kept.size());
  for (size_t k = 0; k < kept.size(); ++k) {
    for (const size_t i : by_subject[subject_of(items[kept[k]])]) {
      if (shots[k].size() < settings.num_fewshot && !(same_split && i == kept[k])) shots[k].push_back(i);
    }
    if (shots[k].size() < settings.num_fewshot) {
      fail_in(
          file,
          "has " + std::to_string(shots[k].size()) + " examples of \"" + subject_of(items[kept[k]]) + "\"",
          "give a smaller --num-fewshot");
    }
  }
  return shots;
}

}  // namespace

ScoreRequest encode_request(const Tokenizer& tokenizer, const std::string& context,
                            const std::string& continuation, size_t max_length, bool& truncated) {
  const size_t kept = strip_end(context).size();
  const std::string stripped = context.substr(0, kept), rest = context.substr(kept) + continuation;
  ScoreRequest request;
  size_t context_ids = 1;
  if (stripped.empty()) {
    request.ids = tokenizer.encode(rest, SpecialTokens::kParse);
    request.ids.insert(request.ids.begin(), prefix_id(tokenizer));
  } else {
    // What the context gives by itself, then the joint text from there on, by number: where a token of the
    // joint text crosses the border, it is not in the request. So lm-evaluation-harness has it
    // (TemplateLM._encode_pair), and all choices of an item then follow the same context.
    const std::vector<int32_t> whole = encode_text(tokenizer, stripped + rest);
    request.ids = encode_text(tokenizer, stripped);
    context_ids = request.ids.size();
    if (whole.size() > context_ids)
      request.ids.insert(request.ids.end(), whole.begin() + static_cast<std::ptrdiff_t>(context_ids),
                         whole.end());
  }
  if (context_ids == 0) fail("its context gives no token");
  if (request.ids.size() <= context_ids) fail("the choice \"" + rest + "\" gives no token of its own");
  request.scored = request.ids.size() - context_ids;
  if (request.scored > max_length) {
    fail("a choice has " + std::to_string(request.scored) + " tokens, more than the model's context of " +
         std::to_string(max_length));
  }
  truncated = request.ids.size() > max_length + 1;
  if (truncated)
    request.ids.erase(request.ids.begin(), request.ids.end() - static_cast<std::ptrdiff_t>(max_length + 1));
  return request;
}

std::vector<std::vector<ScoreRequest>> PreparedTask::groups() const {
  std::vector<std::vector<ScoreRequest>> all;
  all.reserve(items.size());
  for (const PreparedItem& item : items) all.push_back(item.requests);
  return all;
}

PreparedTask prepare_task(const fs::path& folder, const Task& task, const EvaluationSettings& settings,
                          const Tokenizer& tokenizer, size_t max_length) {
  PreparedTask prepared;
  prepared.task = &task;
  const std::string split = settings.split.empty() ? task.split : settings.split;
  prepared.file = task_file(folder, task, split);
  const std::vector<TaskItem> items = read_task_items(prepared.file);
  const std::vector<RenderedItem> rendered = render_all(task, items, prepared.file);
  const std::vector<size_t> kept = first_items(items, task, settings.limit);

  std::vector<RenderedItem> examples;
  std::vector<std::vector<size_t>> shots(kept.size());
  if (settings.num_fewshot > 0) {
    prepared.few_shot_file = example_file(folder, task, split);
    const bool same_split = prepared.few_shot_file == prepared.file;
    const std::vector<TaskItem> pool = same_split ? items : read_task_items(prepared.few_shot_file);
    examples = render_all(task, pool, prepared.few_shot_file);
    shots = shots_of(task, settings, items, kept, pool, same_split, prepared.few_shot_file);
  }

  prepared.items.resize(kept.size());
  std::atomic<size_t> truncated{0};
  parallel_for(kept.size(), [&](size_t k) {
    const TaskItem& item = items[kept[k]];
    const RenderedItem& question = rendered[kept[k]];
    PreparedItem& out = prepared.items[k];
    out.id = item.id;
    out.subject = task.has_subjects ? subject_of(item) : std::string();
    out.gold = item.gold;
    std::vector<RenderedItem> in_front;
    for (const size_t s : shots[k]) in_front.push_back(examples[s]);
    const std::string prefix = few_shot_prefix(question, in_front);
    for (const std::string& text : question.texts) {
      out.characters.push_back(count_code_points(text));
      out.bytes.push_back(text.size());
    }
    for (const TaskRequest& request : question.requests) {
      bool cut = false;
      try {
        out.requests.push_back(
            encode_request(tokenizer, prefix + request.context, request.continuation, max_length, cut));
      } catch (const Error& e) {
        fail_in(prepared.file, "item \"" + item.id + "\": " + e.fields().what, e.fields().hint);
      }
      if (cut) ++truncated;
    }
  });
  prepared.truncated = truncated;
  return prepared;
}

}  // namespace fathom
