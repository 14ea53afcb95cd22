#include "io/tensorboard.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/error.h"
#include "core/file.h"

namespace fathom {
namespace {

// A decoder of its own: it shares with the writer the documents only, and the crc, which has a test of its
// own.
struct Event {
  double wall_time = 0;
  uint64_t step = 0;
  std::string file_version;
  bool session_start = false;
  std::vector<std::pair<std::string, float>> scalars;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  std::string_view take(size_t n) {
    if (n > rest_.size()) throw std::runtime_error("cut short");
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  template <class Word>
  Word fixed() {
    Word word;
    std::memcpy(&word, take(sizeof word).data(), sizeof word);
    return word;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
  std::string_view bytes() { return take(varint()); }

 private:
  std::string_view rest_;
};

std::pair<std::string, float> decode_value(std::string_view data) {
  std::pair<std::string, float> out;
  for (Reader r(data); !r.empty();) {
    const uint64_t key = r.varint();
    if (key == (1 << 3 | 2))
      out.first = r.bytes();
    else if (key == (2 << 3 | 5))
      out.second = r.fixed<float>();
    else
      throw std::runtime_error("unknown field in Value");
  }
  return out;
}

Event decode_event(std::string_view data) {
  Event out;
  for (Reader r(data); !r.empty();) {
    const uint64_t key = r.varint();
    if (key == (1 << 3 | 1))
      out.wall_time = r.fixed<double>();
    else if (key == (2 << 3 | 0))
      out.step = r.varint();
    else if (key == (3 << 3 | 2))
      out.file_version = r.bytes();
    else if (key == (7 << 3 | 2))
      out.session_start = r.bytes() == std::string_view("\x08\x01", 2);
    else if (key == (5 << 3 | 2)) {
      for (Reader s(r.bytes()); !s.empty();) {
        if (s.varint() != (1 << 3 | 2)) throw std::runtime_error("unknown field in Summary");
        out.scalars.push_back(decode_value(s.bytes()));
      }
    } else
      throw std::runtime_error("unknown field in Event");
  }
  return out;
}

uint32_t unmask(uint32_t masked) { return std::rotl(masked - 0xa282ead8u, 15); }

std::vector<Event> decode_file(const std::filesystem::path& path) {
  const std::string bytes = read_text_file(path);
  std::vector<Event> events;
  for (Reader r(bytes); !r.empty();) {
    const std::string_view head = r.take(8);
    EXPECT_EQ(unmask(r.fixed<uint32_t>()), crc32c(head));
    const std::string_view data = r.take(Reader(head).fixed<uint64_t>());
    EXPECT_EQ(unmask(r.fixed<uint32_t>()), crc32c(data));
    events.push_back(decode_event(data));
  }
  return events;
}

class EventWriterTest : public testing::Test {
 protected:
  EventWriterTest() {
    std::string name = (std::filesystem::temp_directory_path() / "fathom-events-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~EventWriterTest() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST(Crc32c, HasItsKnownAnswers) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST_F(EventWriterTest, WritesWhatAnIndependentDecoderReads) {
  EventWriter writer(folder_ / "deep" / "er");
  writer.add(0, std::vector<EventWriter::Scalar>{{"train/loss", 8.25}});
  writer.add(300, std::vector<EventWriter::Scalar>{{"val/loss", 4.5},
                                                   {"bad", std::numeric_limits<double>::quiet_NaN()},
                                                   {std::string(200, 'x'), -1e-3}});
  writer.add(uint64_t{1} << 40, {});
  // Read while the writer is open: each step is flushed.
  const std::vector<Event> events = decode_file(writer.path());
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_GT(events[0].wall_time, 1.6e9);
  EXPECT_EQ(events[1].step, 0u);
  ASSERT_EQ(events[1].scalars.size(), 1u);
  EXPECT_EQ(events[1].scalars[0], (std::pair<std::string, float>{"train/loss", 8.25f}));
  EXPECT_EQ(events[2].step, 300u);
  ASSERT_EQ(events[2].scalars.size(), 3u);
  EXPECT_TRUE(std::isnan(events[2].scalars[1].second));
  EXPECT_EQ(events[2].scalars[2].first, std::string(200, 'x'));
  EXPECT_EQ(events[2].scalars[2].second, -1e-3f);
  EXPECT_EQ(events[3].step, uint64_t{1} << 40);
}

TEST_F(EventWriterTest, ResumingAddsAFileAndSaysFromWhere) {
  const std::vector<EventWriter::Scalar> scalars{{"train/loss", 3.0}};
  std::string before;
  std::filesystem::path first;
  {
    EventWriter writer(folder_);
    writer.add(1, scalars);
    first = writer.path();
    before = read_text_file(first);
  }
  EventWriter resumed(folder_, 1);
  resumed.add(2, scalars);
  EXPECT_NE(resumed.path(), first);
  EXPECT_LT(first.filename().string(), resumed.path().filename().string());
  EXPECT_EQ(read_text_file(first), before);
  EXPECT_EQ(first.filename().string().substr(0, 20), "events.out.tfevents.");
  const std::vector<Event> events = decode_file(resumed.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_TRUE(events[1].session_start);
  EXPECT_EQ(events[1].step, 2u);
  EXPECT_EQ(events[2].step, 2u);
}

TEST_F(EventWriterTest, NamesTheFolderThatCannotBeMade) {
  write_text_file(folder_ / "file", "x");
  try {
    EventWriter writer(folder_ / "file" / "sub");
    FAIL() << "a folder below a file was made";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("file/sub: cannot make the folder"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace fathom
