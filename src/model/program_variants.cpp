#include "model/program_variants.h"

#include <cstring>
#include <vector>

#include "core/error.h"

namespace fathom {

template <class W>
void run_variants(Transformer<W>& model, std::span<Stream<W>* const> streams,
                  std::span<const ProgramStep<Stream<W>>> program,
                  std::span<const ProgramVariant<Stream<W>>> variants, const Batch& batch) {
  using S = Stream<W>;
  if (variants.empty()) return model.run(streams[0], program, batch);
  const size_t bytes = batch.rows() * model.config().hidden_size * sizeof(S);
  std::vector<size_t> done(variants.size(), 0);  // of each variant's own steps
  for (size_t i = 0; i < program.size(); ++i) {
    for (size_t v = 0; v < variants.size(); ++v) {
      if (variants[v].begin == i) std::memcpy(streams[1 + v], streams[0], bytes);
    }
    model.run(streams[0], program.subspan(i, 1), batch);
    // The layer is in memory now: the next one can be read beside the variants' work.
    if (i + 1 < program.size()) model.prefetch(program[i + 1].layer);
    for (size_t v = 0; v < variants.size(); ++v) {
      const Program<S>& rest = variants[v].rest;
      if (i < variants[v].begin || done[v] == rest.size() || rest[done[v]].layer != program[i].layer)
        continue;
      model.run(streams[1 + v], std::span(rest).subspan(done[v]++, 1), batch);
    }
  }
  for (size_t v = 0; v < variants.size(); ++v) {
    if (done[v] != variants[v].rest.size()) fail("internal: a variant runs layers that its program does not");
    // What begins behind the last step has nothing of its own.
    if (variants[v].begin == program.size()) std::memcpy(streams[1 + v], streams[0], bytes);
  }
}

#define FATHOM_INSTANTIATE(W)                                                 \
  template void run_variants<W>(Transformer<W>&, std::span<Stream<W>* const>, \
                                std::span<const ProgramStep<Stream<W>>>,      \
                                std::span<const ProgramVariant<Stream<W>>>, const Batch&);
FATHOM_INSTANTIATE(double)
FATHOM_INSTANTIATE(float)
FATHOM_INSTANTIATE(bf16)
#undef FATHOM_INSTANTIATE

}  // namespace fathom
