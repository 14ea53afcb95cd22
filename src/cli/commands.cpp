#include "cli/command.h"

namespace fathom::cli {

void run_command_line(const std::vector<std::string>& arguments, const std::string& version) {
  CommandLine line(
      "Fathom sounds the depth of language models: train under any normalization scheme, and see which "
      "layers carry weight.",
      version, "fathom probe MODEL --text book.txt --tokens 16384 --html page.html");
  // One line a command, in the order of --help.
  add_data(line.root());
  add_tokenizer(line.root());
  add_train(line.root());
  add_finetune(line.root());
  add_merge(line.root());
  add_compare(line.root());
  add_inspect(line.root());
  add_verify(line.root());
  add_generate(line.root());
  add_probe(line.root());
  add_prune(line.root());
  add_eval(line.root());
  add_export(line.root());
  add_dump(line.root());
  add_selftest(line.root());
  add_bench(line.root());
  add_logits(line.root());
  line.run(arguments);
}

}  // namespace fathom::cli
