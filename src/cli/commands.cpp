#include "cli/command.h"
#include "cli/command_line.h"

namespace fathom::cli {

void add_commands(CLI::App& app) {
  // One line a command, in the order of --help.
  add_data(app);
  add_tokenizer(app);
  add_train(app);
  add_finetune(app);
  add_merge(app);
  add_compare(app);
  add_inspect(app);
  add_verify(app);
  add_generate(app);
  add_probe(app);
  add_prune(app);
  add_eval(app);
  add_export(app);
  add_dump(app);
  add_selftest(app);
  add_bench(app);
  add_logits(app);
  refuse_unclear_values(app);
}

}  // namespace fathom::cli
