#include "io/tensorboard.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/error.h"

namespace fathom {
namespace {

// The wire types of protobuf, and just the fields used here.
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

template <class Word>
void put_little_endian(std::string& out, Word value) {
  for (size_t i = 0; i < sizeof(Word); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_key(std::string& out, uint32_t field, WireType type) { put_varint(out, field << 3 | type); }

void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

/// An Event with its time and step; the caller adds what happened.
std::string event_at(uint64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string event;
  put_key(event, 1, kFixed64);
  put_little_endian(event, std::bit_cast<uint64_t>(std::chrono::duration<double>(now).count()));
  put_key(event, 2, kVarint);
  put_varint(event, step);
  return event;
}

uint32_t masked_crc32c(std::string_view data) { return std::rotr(crc32c(data), 15) + 0xa282ead8u; }

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

[[noreturn]] void fail_errno(const std::string& doing, const std::filesystem::path& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  fail({.what = "cannot " + doing + ": " + std::strerror(error),
        .path = path.string(),
        .hint = full ? "the disk is full: free some space, then resume the run"
                     : "check the folder and its permissions"});
}

}  // namespace

uint32_t crc32c(std::string_view data) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < t.size(); ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c >> 1 ^ ((c & 1) != 0 ? 0x82f63b78u : 0);
      t[i] = c;
    }
    return t;
  }();
  uint32_t crc = 0xffffffffu;
  for (const char byte : data) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

EventWriter::EventWriter(const std::filesystem::path& folder, std::optional<uint64_t> resumed_at) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail_errno("make the folder", folder, error.value());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  // Ten digits: TensorBoard reads the files of a folder in the order of their names.
  const std::string name =
      fmt::format("events.out.tfevents.{:010}.{}",
                  std::chrono::duration_cast<std::chrono::seconds>(now).count(), host_name());
  for (int n = 0; fd_ < 0; ++n) {
    path_ = folder / (n == 0 ? name : fmt::format("{}.{}", name, n));
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0 && errno != EEXIST) fail_errno("create", path_, errno);
  }
  try {
    std::string version = event_at(0);
    put_bytes(version, 3, "brain.Event:2");
    write_record(version);
    if (resumed_at) {
      std::string log;  // SessionLog: status = 1, START = 1.
      put_key(log, 1, kVarint);
      put_varint(log, 1);
      std::string start = event_at(*resumed_at + 1);  // TensorBoard drops what lies at this step or beyond.
      put_bytes(start, 7, log);
      write_record(start);
    }
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

EventWriter::~EventWriter() { ::close(fd_); }

void EventWriter::add(uint64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    std::string entry;  // Summary.Value: tag = 1, simple_value = 2.
    put_bytes(entry, 1, tag);
    put_key(entry, 2, kFixed32);
    put_little_endian(entry, std::bit_cast<uint32_t>(static_cast<float>(value)));
    put_bytes(summary, 1, entry);
  }
  std::string event = event_at(step);
  put_bytes(event, 5, summary);
  write_record(event);
}

void EventWriter::sync() {
  // A file system that can't flush says EINVAL or EROFS; whoever chose it knows.
  if (::fdatasync(fd_) != 0 && errno != EINVAL && errno != EROFS) fail_errno("flush", path_, errno);
}

void EventWriter::write_record(const std::string& event) {
  std::string record;
  put_little_endian(record, static_cast<uint64_t>(event.size()));
  put_little_endian(record, masked_crc32c(record));
  record += event;
  put_little_endian(record, masked_crc32c(event));
  for (std::string_view rest = record; !rest.empty();) {
    const ssize_t n = ::write(fd_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("write", path_, errno);
    rest.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace fathom
