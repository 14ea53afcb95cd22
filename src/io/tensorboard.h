#pragma once
// TensorBoard event files, written by hand: the part of the format that scalars need is some forty lines,
// which is less than a dependency on protobuf and TensorFlow.
//
// Non-goals: images, histograms, reading.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace fathom {

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of `data`; crc32c("123456789") = 0xe3069283 (RFC
/// 3720, B.4).
uint32_t crc32c(std::string_view data);

/// Appends scalars to one file `events.out.tfevents.<time>.<host>[.<n>]` in `folder`.
///
/// Framing, per record: uint64 length, masked crc32c of these 8 bytes, data, masked crc32c of data; little
/// endian, mask(c) = rotate_right(c, 15) + 0xa282ead8. Data is an Event message: double wall_time = 1, int64
/// step = 2, and one of string file_version = 3 ("brain.Event:2", the first record), Summary summary = 5,
/// SessionLog session_log = 7. Source: TensorFlow, core/lib/io/record_writer.h, core/util/event.proto,
/// core/framework/summary.proto.
class EventWriter {
 public:
  /// A named value, such as {"train/loss", 3.2}. Stored as float (the format's simple_value); NaN is kept.
  using Scalar = std::pair<std::string, double>;

  /// Makes `folder` where missing and starts a new file in it; files that stand there are never touched, so
  /// that a resumed run appends by adding a file. `resumed_at`: the step that a resumed run starts after;
  /// TensorBoard then drops the points of the earlier files that lie beyond it (they were trained, but not
  /// saved). Errors: Error where the folder or the file can't be made.
  explicit EventWriter(const std::filesystem::path& folder, std::optional<uint64_t> resumed_at = {});
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;
  ~EventWriter();

  /// Writes the scalars of one step as one record, handed to the kernel before the call returns: a killed
  /// process loses none. Errors: Error (a full disk is named as such).
  void add(uint64_t step, std::span<const Scalar> scalars);
  /// What was added reaches the disk before the call returns. Errors: Error.
  void sync();

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(const std::string& event);

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace fathom
