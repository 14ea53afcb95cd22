// fathom merge: an adapter folded into its base.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "train/merge.h"

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, out;
};

void run(const Options& o) {
  const fs::path adapter = resolve_model(o.model);
  require_room(o.model + " and its base", loaded_bytes<float>(read_config(adapter)), DType::kF32);
  const auto progress = make_progress_if_long();
  const MergeResult r = merge_adapter(
      adapter, o.out, [&](const fs::path& folder) { add_tokenizer_files(adapter, folder); }, progress.get());
  fmt::print("merged {} adapter parameters into {}; wrote {}\n", count_text(static_cast<double>(r.adapters)),
             count_text(static_cast<double>(r.parameters)), o.out);
  fmt::print("its logits, read back, differ from base and adapter by {:.1e} of the largest\n", r.deviation);
  write_result(*o.common, {{"adapter", adapter.string()},
                           {"out", o.out},
                           {"parameters", r.parameters},
                           {"adapter_parameters", r.adapters},
                           {"deviation", r.deviation}});
}

}  // namespace

void add_merge(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(app, "merge", "Fold an adapter (LoRA) into its base: a Hugging Face folder",
                          "fathom merge runs/tuned --out tuned", o->common);
  c.option("MODEL", o->model, "A run of `fathom finetune --lora-rank`, or an adapter's folder (PEFT's too)")
      .required();
  c.option("--out", o->out, "The folder to make").required();
  c.runs([o] {
    apply(*o->common);
    run(*o);
  });
}

}  // namespace fathom::cli
