#pragma once
// Programs that differ from one another from some step on, taken through the layers side by side.

#include <span>

#include "model/transformer.h"

namespace fathom {

/// A program whose first `begin` steps are another's, and which then runs `rest`. The layers of `rest` are
/// among those of the other's own remaining steps, in their order: some are left out, or lack a sublayer.
template <class S>
struct ProgramVariant {
  size_t begin = 0;
  Program<S> rest;
};

/// streams[0] (rows, C) <- `program` applied to it; streams[1 + v] (rows, C) <- variant v applied to what
/// streams[0] held. What variants share with the program is computed once, and each layer's weights are asked
/// for once, whoever runs it, so that a model that is read from its files is read once. The bits are those of
/// Transformer::run of each by itself. Errors: those of Transformer::run.
template <class W>
void run_variants(Transformer<W>& model, std::span<Stream<W>* const> streams,
                  std::span<const ProgramStep<Stream<W>>> program,
                  std::span<const ProgramVariant<Stream<W>>> variants, const Batch& batch);

}  // namespace fathom
