// fathom dump: the residual stream of chosen layers and tokens, for other programs to look at.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_loading.h"
#include "cli/text_input.h"
#include "core/error.h"
#include "probe/dump.h"

namespace fathom::cli {
namespace {

struct Options {
  std::shared_ptr<Common> common = std::make_shared<Common>();
  std::string model, layers = "all", positions = "all", out, dtype = "fp32";
  std::vector<std::string> points{"layer"};
  TextInput input;
  size_t batch = 8;
  uint64_t memory = 0;
};

// A window of --data, or one behind a BOS, may hold one id more than the context: the last input's target. A
// sequence of --token-ids is run as it was given.
void cut_targets(TokenSequences& sequences, size_t context, bool given) {
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].size() <= context) continue;
    if (given || sequences[s].size() > context + 1)
      usage_error(fmt::format("sequence {} has {} ids, more than the model's context of {}", s + 1,
                              sequences[s].size(), context),
                  "cut it");
    sequences[s].resize(context);
  }
}

template <class W>
void dump(const Options& o) {
  OpenedModel<W> m = open_model<W>(o.model, granted_memory(o.memory));
  const std::vector<DumpEntry> entries = parse_dump_entries(o.layers, o.points, m.config.num_hidden_layers);
  TokenSequences sequences = read_sequences(o.input, m.folder, m.config);
  cut_targets(sequences, m.config.max_position_embeddings, !o.input.token_ids.empty());
  const auto positions = parse_positions(o.positions, sequences);
  const auto progress = make_progress();
  const DumpResult r = dump_streams(*m.transformer, sequences, positions, entries, o.batch, o.out, *progress);
  nlohmann::json names = nlohmann::json::array(), lengths = nlohmann::json::array();
  for (const DumpEntry& e : entries) names.push_back(e.name);
  for (const auto& ids : sequences) lengths.push_back(ids.size());
  fmt::print("{}: {} x {} tokens x {}, fp32, {}\n", o.out, entries.size(), r.rows, m.config.hidden_size,
             bytes_text(static_cast<double>(r.bytes)));
  write_result(*o.common, {{"model", o.model},
                           {"out", o.out},
                           {"entries", names},
                           {"shape", r.shape},
                           {"tokens", r.rows},
                           {"positions", positions},
                           {"sequence_lengths", lengths},
                           {"sequences", sequences},
                           {"dtype", o.dtype},
                           {"bytes", r.bytes}});
}

}  // namespace

void add_dump(Command app) {
  auto o = std::make_shared<Options>();
  Command c =
      add_command(app, "dump", "Write the residual stream of chosen layers and tokens to a file",
                  "fathom dump model.gguf --text book.txt --tokens 4096 --layers 1,15-30 --out stream.npy\n"
                  "  fathom dump runs/lns --token-ids ids.json --layers embedding,12 --positions last "
                  "--points attn,layer --out last.safetensors",
                  o->common);
  c.option("MODEL", o->model, "Hugging Face folder, .gguf file or run folder").required();
  add_text_options(c, o->input);
  c.option("--layers", o->layers, "all (with the embedding), or such as embedding,1,5-8").shows_default();
  c.option("--points", o->points,
           "layer (the stream after it), attn (after its attention step), mlp (as layer), attn_update, "
           "mlp_update (what a step adds)")
      .comma_list()
      .shows_default();
  c.option("--positions", o->positions, "all, first, last, or 0-based such as 0,5-8, of each sequence")
      .shows_default();
  c.option("--out", o->out, "A .npy or .safetensors file (see docs/formats.md)").required();
  c.option("--batch", o->batch, "Sequences at a time").shows_default().range(1, 4096);
  c.option("--memory", o->memory,
           "What the weights may take, such as 4GB: layers that do not fit are read for each batch "
           "(default: 0.8 of what is free)")
      .byte_size();
  c.option("--dtype", o->dtype, "fp32 or bf16, of the products; the stream is fp32").shows_default();
  c.runs([o] {
    apply(*o->common);
    with_dtype(parse_dtype(o->dtype), [&]<class W>() { dump<W>(*o); });
  });
}

}  // namespace fathom::cli
