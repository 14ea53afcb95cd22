#include "text/tokenizer.h"

#include <mutex>

#include <fmt/format.h>
#include <xxhash.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/threads.h"
#include "text/bpe.h"
#include "text/text_error.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// The text of each id: a piece with its U+2581 as spaces, a byte token's byte, nothing for a special one.
std::vector<std::string> texts_of(const std::vector<std::string>& pieces) {
  std::vector<std::string> texts(kFirstByteId);
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  for (std::string piece : pieces) {
    for (size_t at; (at = piece.find(kSpaceSymbol)) != std::string::npos;)
      piece.replace(at, kSpaceSymbol.size(), " ");
    texts.push_back(std::move(piece));
  }
  return texts;
}

uint64_t fingerprint_of(const std::vector<std::string>& pieces) {
  std::string all =
      "fathom-bpe-1";  // the layout of vocabulary.h; a NUL ends each piece, which holds none itself
  for (const std::string& piece : pieces) (all += piece).push_back('\0');
  return XXH3_64bits(all.data(), all.size());
}

bool read_add_bos(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  if (!fs::exists(path)) return false;
  try {
    return nlohmann::json::parse(read_text_file(path)).value("add_bos_token", false);
  } catch (const nlohmann::json::exception&) {
    fail_in(path, "is not a valid tokenizer config", "add_bos_token must be true or false");
  }
}

}  // namespace

struct Tokenizer::State {
  State(std::vector<std::string> all_pieces, bool bos)
      : pieces(std::move(all_pieces)),
        texts(texts_of(pieces)),
        encoder(pieces),
        add_bos(bos),
        fingerprint(fingerprint_of(pieces)) {}

  std::vector<std::string> pieces, texts;
  BpeEncoder encoder;
  bool add_bos;
  uint64_t fingerprint;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<BpeEncoder::Cache>>
      idle_caches;  // at most one a thread that ever encoded

  std::vector<int32_t> encode(std::string_view text) const {
    std::unique_ptr<BpeEncoder::Cache> cache;
    {
      std::lock_guard lock(mutex);
      if (!idle_caches.empty()) {
        cache = std::move(idle_caches.back());
        idle_caches.pop_back();
      }
    }
    if (!cache) cache = std::make_unique<BpeEncoder::Cache>();
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 3);  // English has about 4 bytes a token
    encoder.encode(text, *cache, ids);
    std::lock_guard lock(mutex);
    idle_caches.push_back(std::move(cache));
    return ids;
  }
};

Tokenizer::Tokenizer(std::vector<std::string> pieces, bool add_bos)
    : state_(std::make_shared<const State>(std::move(pieces), add_bos)) {}

Tokenizer Tokenizer::load(const fs::path& path) {
  if (!fs::exists(path))
    fail_in(path, "no such tokenizer", "check the path, or make one with `fathom tokenizer train`");
  if (!fs::is_directory(path)) {
    const std::string bytes = read_text_file(path);
    return Tokenizer(path.extension() == ".json" ? parse_tokenizer_json(bytes, path)
                                                 : parse_sentencepiece_model(bytes, path));
  }
  const bool add_bos = read_add_bos(path);
  const fs::path model = path / "tokenizer.model", json = path / "tokenizer.json";
  if (fs::exists(model)) return Tokenizer(parse_sentencepiece_model(read_text_file(model), model), add_bos);
  if (fs::exists(json)) return Tokenizer(parse_tokenizer_json(read_text_file(json), json), add_bos);
  fail_in(path, "holds neither tokenizer.model nor tokenizer.json", "check the path");
}

void Tokenizer::save_model(const fs::path& path) const {
  write_text_file(path, format_sentencepiece_model(state_->pieces));
}

void Tokenizer::save(const fs::path& folder) const {
  save_model(folder / "tokenizer.model");
  write_text_file(folder / "tokenizer.json", format_tokenizer_json(state_->pieces));
  const Json special = {{"bos_token", kSpecialPieces[kBosId]},
                        {"eos_token", kSpecialPieces[kEosId]},
                        {"unk_token", kSpecialPieces[kUnkId]}};
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"add_bos_token", state_->add_bos},
                 {"add_eos_token", false},
                 {"add_prefix_space", false},
                 {"clean_up_tokenization_spaces", false}};
  config.update(special);
  write_text_file(folder / "tokenizer_config.json", config.dump(2) + "\n");
  write_text_file(folder / "special_tokens_map.json", special.dump(2) + "\n");
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const { return state_->encode(text); }

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string> texts) const {
  std::vector<std::vector<int32_t>> ids(texts.size());
  parallel_for(texts.size(), [&](size_t i) { ids[i] = state_->encode(texts[i]); });
  return ids;
}

std::string_view Tokenizer::bytes_of(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= state_->texts.size()) {
    fail("token id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(vocab_size()),
         "do the ids come from this tokenizer?");
  }
  return state_->texts[static_cast<size_t>(id)];
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += bytes_of(id);
  return text;
}

size_t Tokenizer::vocab_size() const { return state_->texts.size(); }
int32_t Tokenizer::bos_id() const { return kBosId; }
int32_t Tokenizer::eos_id() const { return kEosId; }
bool Tokenizer::add_bos() const { return state_->add_bos; }
uint64_t Tokenizer::fingerprint() const { return state_->fingerprint; }

std::string fingerprint_text(uint64_t fingerprint) { return fmt::format("{:016x}", fingerprint); }

}  // namespace fathom
