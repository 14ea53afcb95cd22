#include "train/batches.h"

#include <gtest/gtest.h>

#include "support/tiny_model.h"

namespace fathom {
namespace {

constexpr size_t kSeq = 8;

// Windows of one token; asks to stop when it hands out window `stop_at`.
class StoppingSource final : public DataSource {
 public:
  explicit StoppingSource(uint64_t stop_at) : stop_at_(stop_at) {}
  uint64_t windows_per_epoch() const override { return 10; }
  void window(uint64_t index, int32_t* inputs, int32_t* targets, int32_t*) const override {
    for (size_t t = 0; t < kSeq; ++t) inputs[t] = targets[t] = static_cast<int32_t>(index % 5);
  }
  uint64_t validation_windows() const override { return 10; }
  void validation_window(uint64_t index, int32_t* inputs, int32_t* targets,
                         int32_t* first_key) const override {
    ++read;
    if (index == stop_at_) stop = true;
    window(index, inputs, targets, first_key);
  }
  bool must_mask() const override { return false; }
  uint64_t train_tokens() const override { return 10 * kSeq; }
  std::string fingerprint() const override { return ""; }
  uint64_t vocab_size() const override { return 5; }
  int32_t eos_id() const override { return 0; }
  std::string description() const override { return ""; }

  mutable uint64_t read = 0;
  mutable std::atomic<bool> stop{false};

 private:
  uint64_t stop_at_;
};

TEST(Evaluate, EndsBehindTheBatchInWhichItIsAskedToStop) {
  test::TinyModel<float> tiny(test::tiny_config(NormType::kPre));
  BatchBuffer buffer(2, kSeq, false);
  const StoppingSource early(3), last(9), never(99);
  EXPECT_FALSE(evaluate(tiny.model, early, buffer, 2, 10, &early.stop).has_value());
  EXPECT_EQ(early.read, 4u);
  const auto whole = evaluate(tiny.model, last, buffer, 2, 10, &last.stop);
  ASSERT_TRUE(whole.has_value()) << "nothing was left to do";
  EXPECT_EQ(whole->nll.size(), 10u);
  const auto other = evaluate(tiny.model, never, buffer, 2, 10);
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(other->nll, whole->nll);
}

}  // namespace
}  // namespace fathom
