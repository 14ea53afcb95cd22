// fathom logits: the logits of given token ids, for comparison with other programs (tests/parity).

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "core/file.h"
#include "text/windows.h"

namespace fathom::cli {
namespace {

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, token_ids, out, dtype = "fp32";
};

template <class W>
void run(const Options& o) {
  OpenedModel<W> m = open_model<W>(o.model, granted_memory(0), false);
  nlohmann::json all = nlohmann::json::array();
  for (const std::vector<int32_t>& ids : read_token_ids_json(o.token_ids)) {
    const Batch batch{1, ids.size(), ids.data(), nullptr, nullptr};
    Buffer<float> x(ids.size() * m.config.hidden_size);
    std::vector<float> logits(ids.size() * m.config.vocab_size);
    m.transformer->embed(x.data(), batch);
    m.transformer->run(x.data(), whole_program<float>(m.config.num_hidden_layers), batch);
    m.transformer->logits(logits.data(), x.data(), ids.size());
    nlohmann::json rows = nlohmann::json::array();
    for (size_t t = 0; t < ids.size(); ++t) {
      const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(t * m.config.vocab_size);
      rows.push_back(std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(m.config.vocab_size)));
    }
    all.push_back(std::move(rows));
  }
  const nlohmann::json result{{"vocab_size", m.config.vocab_size}, {"logits", all}};
  if (o.out.empty() && o.common->json_path.empty()) fmt::print("{}\n", result.dump());
  if (!o.out.empty()) write_text_file(o.out, result.dump() + "\n");
  write_result(*o.common, result);
}

}  // namespace

void add_logits(Command app) {
  auto o = std::make_shared<Options>();
  Command c = add_command(app, "logits",
                          "Print the logits of given token ids as JSON, to compare with other programs",
                          "fathom logits runs/lns --token-ids ids.json --out logits.json", o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder").required();
  c.option("--token-ids", o->token_ids, "JSON array of sequences of ids").required();
  c.option("--out", o->out, "Write the logits to this file");
  c.option("--dtype", o->dtype, "fp32 or bf16").shows_default();
  c.runs([o] {
    apply(*o->common);
    with_dtype(parse_dtype(o->dtype), [&]<class W>() { run<W>(*o); });
  });
}

}  // namespace fathom::cli
