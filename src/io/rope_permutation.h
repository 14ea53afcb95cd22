#pragma once
// The order of the rows of q and k. Hugging Face's RoPE turns the pairs (i, i + HS/2) of a head, the original
// Llama's and GGUF's "llama" the pairs (2i, 2i + 1); the converter to GGUF therefore reorders the rows.
//
// Which architectures: `llama` (Llama, Mistral and others that llama.cpp runs as such) yes; qwen2, qwen3,
// gemma, gemma2, gemma3, olmo2, phi3 no: llama.cpp turns their pairs as Hugging Face does
// (LLAMA_ROPE_TYPE_NEOX). Source: ggml-org/llama.cpp, convert_hf_to_gguf.py (LlamaModel.permute,
// undo_permute) and src/llama-model.cpp (llama_model_rope_type).

#include <cstddef>
#include <string_view>

#include "model/parameters.h"

namespace fathom {

/// Whether a GGUF file of this `general.architecture` holds q and k permuted.
bool gguf_permutes_qk(std::string_view architecture);
/// Whether the role is a matrix or bias that this is about.
bool is_q_or_k(ParamRole role);

/// The row of a Hugging Face matrix (or element of a bias) of q or k that stands at `row` of the GGUF one,
/// for heads of `head_dim` rows (even); and the other way round.
size_t hf_row_of_gguf(size_t row, size_t head_dim);
size_t gguf_row_of_hf(size_t row, size_t head_dim);

/// gguf (rows, columns) = hf's rows in GGUF's order, and back. rows is a multiple of head_dim. No aliasing.
template <class T>
void permute_qk(T* gguf, const T* hf, size_t rows, size_t columns, size_t head_dim);
template <class T>
void unpermute_qk(T* hf, const T* gguf, size_t rows, size_t columns, size_t head_dim);

}  // namespace fathom
