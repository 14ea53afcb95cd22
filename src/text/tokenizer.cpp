#include "text/tokenizer.h"

#include <algorithm>
#include <mutex>

#include <fmt/format.h>
#include <xxhash.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/threads.h"
#include "text/bpe.h"
#include "text/gguf_vocabulary.h"
#include "text/hf_tokenizer.h"
#include "text/sentencepiece_encoder.h"
#include "text/text_error.h"
#include "text/vocabulary.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr const char* kModelFile = "tokenizer.model";
constexpr const char* kJsonFile = "tokenizer.json";

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

class OwnEncoder final : public TextEncoder {
 public:
  explicit OwnEncoder(const std::vector<std::string>& pieces) : bpe_(pieces) {
    std::vector<AddedToken> tokens;
    for (int32_t id = 0; id < kFirstByteId; ++id)
      tokens.push_back({.content = kSpecialPieces[id], .id = id, .special = true});
    special_ = AddedTokenFinder(std::move(tokens));
  }
  void encode(std::string_view text, SpecialTokens special, EncodeWorkspace& workspace,
              std::vector<int32_t>& out) const override {
    if (special == SpecialTokens::kText) return bpe_.encode(text, workspace.words, out);
    for (const TextPart& part : special_.split(text, special)) {
      if (part.id != TextPart::kNone)
        out.push_back(part.id);
      else
        bpe_.encode(text.substr(part.begin, part.end - part.begin), workspace.words, out);
    }
  }

 private:
  BpeEncoder bpe_;
  AddedTokenFinder special_;
};

TokenizerFiles own_files(const std::vector<std::string>& pieces, bool add_bos) {
  const OrderedJson special = {{"bos_token", kSpecialPieces[kBosId]},
                               {"eos_token", kSpecialPieces[kEosId]},
                               {"unk_token", kSpecialPieces[kUnkId]}};
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"add_bos_token", add_bos},
                        {"add_eos_token", false},
                        {"add_prefix_space", false},
                        {"clean_up_tokenization_spaces", false}};
  config.update(special);
  return {{kModelFile, format_sentencepiece_model(pieces)},
          {kJsonFile, format_tokenizer_json(pieces)},
          {"tokenizer_config.json", config.dump(2) + "\n"},
          {"special_tokens_map.json", special.dump(2) + "\n"}};
}

/// The files of the vocabulary are made anew; others stay as they stood beside it.
TokenizerFiles own_files_and(const TokenizerFiles& beside, const std::vector<std::string>& pieces,
                             bool add_bos) {
  TokenizerFiles files;
  const auto keep = [&](const std::pair<std::string, std::string>& file) {
    const auto same = [&](const auto& f) { return f.first == file.first; };
    if (std::none_of(files.begin(), files.end(), same)) files.push_back(file);
  };
  for (const auto& file : beside) {
    if (file.first != kModelFile && file.first != kJsonFile) keep(file);
  }
  for (const auto& file : own_files(pieces, add_bos)) keep(file);
  return files;
}

TokenizerParts own_parts(const std::vector<std::string>& pieces, bool add_bos, TokenizerFiles beside = {}) {
  TokenizerParts parts;
  parts.encoder = std::make_unique<OwnEncoder>(pieces);
  parts.texts = texts_of(pieces);
  parts.bos_id = kBosId;
  parts.eos_id = kEosId;
  parts.add_bos = add_bos;
  parts.fingerprint = fingerprint_of(pieces);
  parts.files = [pieces, add_bos, beside = std::move(beside)] {
    return own_files_and(beside, pieces, add_bos);
  };
  return parts;
}

/// The file decides the ids: the same bytes, the same fingerprint.
void set_source(TokenizerParts& parts, const std::string& bytes, TokenizerFiles files) {
  parts.fingerprint = XXH3_64bits(bytes.data(), bytes.size());
  parts.files = [files = std::move(files)] { return files; };
}

/// `beside` are the other files of the folder.
TokenizerParts parts_of_json(const std::string& bytes, const TokenizerConfig& config, const fs::path& path,
                             TokenizerFiles beside = {}) {
  const nlohmann::json json = parse_tokenizer_json(bytes, path);
  if (const auto pieces = own_pieces(json, path))
    return own_parts(*pieces, config.add_bos.value_or(false), std::move(beside));
  TokenizerParts parts = make_hf_tokenizer(json, config, path);
  beside.emplace_back(kJsonFile, bytes);
  set_source(parts, bytes, std::move(beside));
  return parts;
}

TokenizerParts parts_of_model(const std::string& bytes, const TokenizerConfig& config, const fs::path& path,
                              TokenizerFiles beside = {}) {
  const SentencePieceModel model = parse_sentencepiece_model(bytes, path);
  if (const auto pieces = own_pieces(model, path))
    return own_parts(*pieces, config.add_bos.value_or(false), std::move(beside));
  TokenizerParts parts = make_sentencepiece_tokenizer(bytes, model, config, path);
  beside.emplace_back(kModelFile, bytes);
  set_source(parts, bytes, std::move(beside));
  return parts;
}

/// Whether a folder's tokenizer.model has Fathom's own layout. (Llama 3's is no SentencePiece model at all.)
bool is_own_model(const std::string& bytes, const fs::path& path) {
  try {
    return own_pieces(parse_sentencepiece_model(bytes, path), path).has_value();
  } catch (const Error&) {
    return false;
  }
}

TokenizerParts parts_of_folder(const fs::path& folder) {
  const TokenizerConfig config = read_tokenizer_config(folder);
  const fs::path model = folder / kModelFile, json = folder / kJsonFile;
  const bool has_json = fs::exists(json);
  const std::string bytes = fs::exists(model) ? read_text_file(model) : std::string();
  if (!has_json && !fs::exists(model))
    fail_in(folder, "holds neither tokenizer.model nor tokenizer.json", "check the path");
  if (!has_json || (!bytes.empty() && is_own_model(bytes, model)))
    return parts_of_model(bytes, config, model, files_beside(folder, kModelFile));
  return parts_of_json(read_text_file(json), config, json, files_beside(folder, kJsonFile));
}

}  // namespace

struct Tokenizer::State {
  explicit State(TokenizerParts all) : parts(std::move(all)) {}

  TokenizerParts parts;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<EncodeWorkspace>> idle;  // at most one a thread that ever encoded

  std::vector<int32_t> encode(std::string_view text, SpecialTokens special) const {
    std::unique_ptr<EncodeWorkspace> workspace;
    {
      std::lock_guard lock(mutex);
      if (!idle.empty()) {
        workspace = std::move(idle.back());
        idle.pop_back();
      }
    }
    if (!workspace) workspace = std::make_unique<EncodeWorkspace>();
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 3);  // English has about 4 bytes a token
    parts.encoder->encode(text, special, *workspace, ids);
    std::lock_guard lock(mutex);
    idle.push_back(std::move(workspace));
    return ids;
  }
};

Tokenizer::Tokenizer(TokenizerParts parts) : state_(std::make_shared<const State>(std::move(parts))) {}

Tokenizer::Tokenizer(std::vector<std::string> pieces, bool add_bos) : Tokenizer(own_parts(pieces, add_bos)) {}

Tokenizer Tokenizer::load(const fs::path& path) {
  if (!fs::exists(path))
    fail_in(path, "no such tokenizer", "check the path, or make one with `fathom tokenizer train`");
  if (fs::is_directory(path)) return Tokenizer(parts_of_folder(path));
  const std::string bytes = read_text_file(path);
  return Tokenizer(path.extension() == ".json" ? parts_of_json(bytes, {}, path)
                                               : parts_of_model(bytes, {}, path));
}

Tokenizer Tokenizer::from_gguf(const GgufVocabulary& vocabulary, const fs::path& path) {
  const GgufTokenizerFiles made = gguf_tokenizer_files(vocabulary, path);
  TokenizerParts parts = make_hf_tokenizer(made.tokenizer, tokenizer_config_of(made.config), path);
  const std::string json = made.tokenizer.dump(1) + "\n";
  set_source(parts, json, {{kJsonFile, json}, {"tokenizer_config.json", made.config.dump(2) + "\n"}});
  return Tokenizer(std::move(parts));
}

void Tokenizer::save_model(const fs::path& path) const {
  for (const auto& [name, bytes] : state_->parts.files()) {
    if (name == kModelFile) return write_text_file(path, bytes);
  }
  fail("this tokenizer has no tokenizer.model", "save it as a folder");
}

void Tokenizer::save(const fs::path& folder) const {
  for (const auto& [name, bytes] : state_->parts.files()) write_text_file(folder / name, bytes);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  return state_->encode(text, special);
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string> texts,
                                                          SpecialTokens special) const {
  std::vector<std::vector<int32_t>> ids(texts.size());
  parallel_for(texts.size(), [&](size_t i) { ids[i] = state_->encode(texts[i], special); });
  return ids;
}

std::string_view Tokenizer::bytes_of(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= state_->parts.texts.size()) {
    fail("token id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(vocab_size()),
         "do the ids come from this tokenizer?");
  }
  return state_->parts.texts[static_cast<size_t>(id)];
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) text += bytes_of(id);
  if (state_->parts.drops_first_space && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

size_t Tokenizer::vocab_size() const { return state_->parts.texts.size(); }
int32_t Tokenizer::bos_id() const { return state_->parts.bos_id; }
int32_t Tokenizer::eos_id() const { return state_->parts.eos_id; }
int32_t Tokenizer::required_eos_id() const {
  if (eos_id() < 0)
    fail("the tokenizer names no end-of-text token",
         "give the folder with its tokenizer_config.json (\"eos_token\")");
  return eos_id();
}
bool Tokenizer::add_bos() const { return state_->parts.add_bos; }
bool Tokenizer::add_eos() const { return state_->parts.add_eos; }
uint64_t Tokenizer::fingerprint() const { return state_->parts.fingerprint; }

std::string fingerprint_text(uint64_t fingerprint) { return fmt::format("{:016x}", fingerprint); }

}  // namespace fathom
