#include "text/corpus.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <system_error>

#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/log.h"
#include "text/byte_source.h"
#include "text/json_fields.h"
#include "text/line_reader.h"
#include "text/text_error.h"

namespace fathom {
namespace {

namespace fs = std::filesystem;

const char* const kLineHint = "each line must be an object such as {\"text\": \"...\"}";

/// The name without .gz or .zst, and whether there was one.
std::pair<fs::path, bool> without_compression(const fs::path& path) {
  const bool compressed = path.extension() == ".gz" || path.extension() == ".zst";
  return {compressed ? path.stem() : path.filename(), compressed};
}

std::string lower_extension(const fs::path& name) {
  std::string extension = name.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

bool is_one_of(const std::string& extension, std::initializer_list<const char*> list) {
  return std::find(list.begin(), list.end(), extension) != list.end();
}

bool holds_json_lines(const fs::path& path) {
  const auto [name, compressed] = without_compression(path);
  const std::string extension = lower_extension(name);
  return is_one_of(extension, {".jsonl", ".ndjson", ".jsonlines"}) || (compressed && extension == ".json");
}

bool is_readable_name(const fs::path& path) {
  return holds_json_lines(path) || lower_extension(without_compression(path).first) == ".txt";
}

/// Errors: Error where the name says that the file is of a form that is not read. Names that say nothing are
/// text.
void refuse_other_forms(const fs::path& path) {
  const std::string extension = lower_extension(without_compression(path).first);
  if (extension == ".json" && !holds_json_lines(path))
    fail_in(path, "is JSON; of that, lines of objects are read",
            "name it .jsonl where each line is an object such as {\"text\": \"...\"}");
  if (is_one_of(extension, {".parquet", ".arrow", ".csv", ".tsv", ".zip", ".tar", ".bin", ".gguf",
                            ".safetensors", ".pdf", ".epub", ".docx", ".xz", ".bz2"}))
    fail_in(path, "is of a form that is not read", "convert it to .txt or .jsonl (also .gz or .zst)");
}

void list_folder(const fs::path& folder, std::vector<fs::path>& files) {
  std::error_code error;
  std::vector<fs::path> found;
  size_t left_out = 0;
  fs::recursive_directory_iterator entry(folder, error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;  // what is no file will say so when it is opened
    if (entry->is_directory(ignored)) continue;
    if (is_readable_name(entry->path()))
      found.push_back(entry->path());
    else
      ++left_out;
  }
  if (error) fail_in(folder, "cannot list the folder: " + error.message(), "check the permissions");
  if (found.empty())
    fail_in(folder, "holds no .txt or .jsonl file, plain or as .gz or .zst", "check the path");
  if (left_out > 0) {
    log_info(folder.string() + ": " + std::to_string(found.size()) + " files are read; " +
             std::to_string(left_out) + " whose names end in neither .txt nor .jsonl are left out");
  }
  std::sort(found.begin(), found.end());
  files.insert(files.end(), found.begin(), found.end());
}

std::vector<fs::path> list_files(const std::vector<fs::path>& inputs) {
  std::vector<fs::path> files;
  for (const fs::path& input : inputs) {
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    if (status.type() == fs::file_type::none)
      fail_in(input, "cannot open: " + error.message(), "check the permissions");
    if (!fs::exists(status)) fail_in(input, "no such file or folder", "check the path");
    if (fs::is_directory(status)) {
      list_folder(input, files);
    } else {
      refuse_other_forms(input);
      files.push_back(input);
    }
  }
  if (files.empty()) usage_error("no input given", "name files or folders of text");
  return files;
}

}  // namespace

struct CorpusReader::State {
  std::vector<fs::path> files;
  Options options;
  uint64_t total_bytes = 0, finished_bytes = 0;

  size_t next_file = 0;
  fs::path path;
  std::unique_ptr<LineReader> lines;  // of the file of JSON lines that is being read, or null
  std::string line;
  uint64_t documents = 0;

  bool next_text(std::string& text);
  void read_text_file(std::string& text);
  void refuse_json_lines(std::string_view text) const;
  void parse_line(std::string& text) const;
};

/// The text of the next line or file, perhaps ""; false at the end of the last file.
bool CorpusReader::State::next_text(std::string& text) {
  text.clear();
  if (lines) {
    if (lines->next(line)) {
      parse_line(text);
    } else {
      finished_bytes += lines->consumed();
      lines.reset();
    }
    return true;
  }
  if (next_file == files.size()) return false;
  path = files[next_file++];
  if (holds_json_lines(path))
    lines = std::make_unique<LineReader>(path, options.max_document_bytes);
  else
    read_text_file(text);
  return true;
}

/// The text of the object in `line`; "" for a blank line.
void CorpusReader::State::parse_line(std::string& text) const {
  if (line.find_first_not_of(" \t\r") == std::string::npos) return;
  nlohmann::json object;
  try {
    object = parse_json(line);
  } catch (const nlohmann::json::exception& e) {
    fail_in(path, "not valid JSON: " + json_reason(e.what()), kLineHint, lines->number());
  }
  const auto field = object.is_object() ? object.find("text") : object.end();
  if (!object.is_object() || field == object.end())
    fail_in(path, "has no field \"text\"", kLineHint, lines->number());
  if (!field->is_string()) fail_in(path, "the field \"text\" is not a string", kLineHint, lines->number());
  text = std::move(field->get_ref<std::string&>());
}

void CorpusReader::State::read_text_file(std::string& text) {
  const std::unique_ptr<ByteSource> source = open_byte_source(path);
  std::vector<char> buffer(size_t{256} << 10);
  while (const size_t length = source->read(buffer.data(), buffer.size())) {
    text.append(buffer.data(), length);
    if (text.size() > options.max_document_bytes)
      fail_in(path, "a document of more than " + std::to_string(options.max_document_bytes) + " bytes",
              "split it into several documents");
  }
  finished_bytes += source->consumed();
  require_utf8(path, text);
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  refuse_json_lines(text);
}

// A file of JSON lines under another name would be one long document, braces and escapes and all.
void CorpusReader::State::refuse_json_lines(std::string_view text) const {
  if (!text.starts_with('{')) return;
  const nlohmann::json first = parse_json_or_discard(text.substr(0, text.find('\n')));
  if (first.is_object() && first.contains("text"))
    fail_in(path, "holds JSON lines, and its name says that it is plain text", "name it .jsonl");
}

CorpusReader::CorpusReader(const std::vector<std::filesystem::path>& inputs)
    : CorpusReader(inputs, Options{}) {}

CorpusReader::CorpusReader(const std::vector<std::filesystem::path>& inputs, Options options)
    : state_(std::make_unique<State>()) {
  state_->files = list_files(inputs);
  state_->options = options;
  for (const fs::path& file : state_->files) {
    std::error_code error;
    const uintmax_t size = fs::file_size(file, error);
    if (!error) state_->total_bytes += size;  // a pipe has no size
  }
}

CorpusReader::~CorpusReader() = default;

bool CorpusReader::next(Document& document) {
  State& s = *state_;
  while (s.next_text(document.text)) {
    if (document.text.empty()) continue;
    document.index = s.documents++;
    return true;
  }
  if (s.documents > 0) return false;
  fail_in(s.files.front(), s.files.size() == 1 ? "holds no text" : "and the other input files hold no text",
          "a corpus needs at least one document that is not empty");
}

uint64_t CorpusReader::bytes_done() const {
  return state_->finished_bytes + (state_->lines ? state_->lines->consumed() : 0);
}
uint64_t CorpusReader::bytes_total() const { return state_->total_bytes; }
const std::vector<std::filesystem::path>& CorpusReader::files() const { return state_->files; }

}  // namespace fathom
