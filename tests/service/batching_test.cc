#include "service/batching/batcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "service/batching/rows.h"
#include "tests/service/fake_engine.h"

namespace strata::service {
namespace {

absl::Time At(int ms) { return absl::FromUnixMillis(1000 + ms); }

TEST(Policy, Decides) {
  const Waiting a{.signature = 1, .rows = 2, .arrived = At(0)};
  const Waiting b{.signature = 1, .rows = 3, .arrived = At(1)};
  const Waiting other{.signature = 2, .rows = 1, .arrived = At(1)};
  const Waiting big{.signature = 1, .rows = 100, .arrived = At(2)};
  Waiting late = a, gone = a, soon = a;
  late.deadline = At(5);
  gone.cancelled = true;
  soon.deadline = At(9);
  const BatchLimits together{.batchable = true, .max_rows = 8};
  const BatchLimits alone{.batchable = false, .max_rows = 8, .max_delay = absl::Milliseconds(10)};
  const BatchLimits patient{.batchable = true, .max_rows = 8, .max_delay = absl::Milliseconds(10)};
  const absl::Time never = absl::InfiniteFuture();
  const struct {
    const char* name;
    std::vector<Waiting> queue;
    int now;
    BatchLimits limits;
    std::vector<size_t> drop, run;
    absl::Time wake;
  } kCases[] = {
      {"empty", {}, 0, together, {}, {}, never},
      {"an idle server runs at once", {a}, 0, together, {}, {0}, never},
      {"company", {a, b}, 1, together, {}, {0, 1}, never},
      {"not batchable: one by one, never waits", {a, b}, 1, alone, {}, {0}, never},
      {"other signatures stay", {a, other, b}, 1, together, {}, {0, 2}, never},
      {"too many rows stay, and nothing overtakes them", {a, big, b}, 2, together, {}, {0}, never},
      {"more rows than the limit run alone", {big, a}, 2, together, {}, {0}, never},
      {"expired and cancelled are dropped", {late, gone, b}, 5, together, {0, 1}, {2}, never},
      {"a deadline that is now has passed", {late}, 5, together, {0}, {}, never},
      {"patience", {a}, 4, patient, {}, {}, At(10)},
      {"patience ends", {a, b}, 10, patient, {}, {0, 1}, never},
      {"a full batch does not wait", {a, b, b}, 2, patient, {}, {0, 1, 2}, never},
      {"a near deadline does not wait for company", {b, soon}, 5, patient, {}, {0, 1}, never},
  };
  for (const auto& c : kCases) {
    const Decision decision = Decide(c.queue, At(c.now), c.limits);
    EXPECT_EQ(decision.drop, c.drop) << c.name;
    EXPECT_EQ(decision.run, c.run) << c.name;
    EXPECT_EQ(decision.wake, c.wake) << c.name;
  }
}

TEST(Rows, TextsOfAnyLengthAreJoined) {
  Tensor one(DType::kText, {1, 2}), two(DType::kText, {2, 2});
  const std::string_view words[] = {"a", "", "much longer", std::string_view("z\0", 2), "b", "c"};
  std::copy(words, words + 2, one.data<std::string_view>());
  std::copy(words + 2, words + 6, two.data<std::string_view>());
  const NamedViews first{{"t", one.view()}}, second{{"t", two.view()}};
  const NamedViews* requests[] = {&first, &second};
  const NamedTensors joined = GatherRows(requests, 4);
  const Tensor& t = joined.at("t");
  ASSERT_EQ(t.shape(), (Shape{4, 2}));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(t.data<std::string_view>()[i], words[i]) << i;
  EXPECT_EQ(t.data<std::string_view>()[7], "c");  // the last row again
}

TEST(Policy, PaddedRowsAreFew) {
  const std::pair<int64_t, int64_t> kCases[] = {{1, 1},  {2, 2},   {3, 3},   {4, 4},    {5, 6},     {7, 8},
                                                {9, 12}, {13, 16}, {17, 24}, {97, 128}, {100, 128}, {200, 200}};
  for (const auto& [rows, want] : kCases) EXPECT_EQ(PaddedRows(rows, 128), want) << rows;
  EXPECT_EQ(PaddedRows(97, 100), 100);
}

TEST(Rows, GatherAndScatter) {
  const std::vector<float> a{1, 2}, b{3, 4, 5, 6};
  const NamedViews first{{"x", {DType::kF32, {1, 2}, a.data()}}}, second{{"x", {DType::kF32, {2, 2}, b.data()}}};
  const std::vector<const NamedViews*> requests{&first, &second};
  NamedTensors joined = GatherRows(requests, 4);
  const Tensor& x = joined.at("x");
  EXPECT_EQ(x.shape(), (Shape{4, 2}));
  const double want[] = {1, 2, 3, 4, 5, 6, 5, 6};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(x.At(i), want[i]);
  const std::vector<int64_t> rows{1, 2};
  const auto pieces = ScatterRows(joined, rows);
  ASSERT_TRUE(pieces.ok());
  EXPECT_EQ(pieces->at(1).at("x").shape(), (Shape{2, 2}));
  EXPECT_EQ(pieces->at(1).at("x").At(3), 6);
  const std::vector<int64_t> too_many{3, 2};
  EXPECT_EQ(ScatterRows(joined, too_many).status().code(), absl::StatusCode::kInternal);
}

class BatcherTest : public testing::Test {
 protected:
  std::shared_ptr<const Version> Make(const std::string& name) {
    v1::Model model;
    model.set_name(name);
    model.set_dialect(v1::PYTORCH);
    model.add_inputs()->add_shape(1);
    NamedTensors weights;
    weights.emplace("w", Tensor::Of<float>(DType::kF32, {1}, {2}));
    return *engine_.CreateVersion(model, std::move(weights), {});
  }
  InferenceJob Job(std::shared_ptr<const Version> version, const float* x) {
    return {.model = "m", .version = std::move(version), .inputs = {{"x", {DType::kF32, {1, 1}, x}}}, .bytes = 4};
  }

  std::shared_ptr<FakeEngine::Gate> gate_ = std::make_shared<FakeEngine::Gate>();
  FakeEngine engine_{gate_};
  Metrics metrics_{{}};
};

TEST_F(BatcherTest, RequestsThatMeetRunTogetherAndGetTheirOwnRows) {
  const auto version = Make("slow");
  gate_->Set(false);
  Batcher batcher({.threads = 1, .metrics = &metrics_});
  constexpr int kRequests = 9;
  std::vector<float> x(kRequests);
  std::vector<double> y(kRequests);
  absl::BlockingCounter left(kRequests);
  for (int i = 0; i < kRequests; ++i) {
    x[i] = static_cast<float>(i);
    InferenceJob job = Job(version, &x[i]);
    job.done = [&, i](BatchResult result) {
      ASSERT_TRUE(result.outputs.ok());
      y[i] = result.outputs->at("y").At(0);
      left.DecrementCount();
    };
    ASSERT_TRUE(batcher.Add(std::move(job)).ok());
    if (i == 0) gate_->AwaitWaiting(1);  // the first runs alone at once, the others meet behind it
  }
  gate_->Set(true);
  left.Wait();
  for (int i = 0; i < kRequests; ++i) EXPECT_EQ(y[i], 2 * i);
  absl::MutexLock lock(&gate_->mutex);
  EXPECT_EQ(gate_->predictions, 2);
  EXPECT_EQ(gate_->largest_batch, 8);
}

TEST_F(BatcherTest, ABadNeighbourFailsAlone) {
  const auto version = Make("slow");
  gate_->Set(false);
  Batcher batcher({.threads = 1, .metrics = &metrics_});
  const float x[] = {1, INFINITY, 3};
  absl::StatusOr<NamedTensors> results[3] = {absl::UnknownError(""), absl::UnknownError(""), absl::UnknownError("")};
  absl::BlockingCounter left(3);
  for (int i = 0; i < 3; ++i) {
    InferenceJob job = Job(version, &x[i]);
    job.done = [&, i](BatchResult result) {
      results[i] = std::move(result.outputs);
      left.DecrementCount();
    };
    ASSERT_TRUE(batcher.Add(std::move(job)).ok());
    if (i == 0) gate_->AwaitWaiting(1);
  }
  gate_->Set(true);
  left.Wait();
  EXPECT_EQ(results[0]->at("y").At(0), 2);
  EXPECT_EQ(results[1].status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(results[2]->at("y").At(0), 6);
}

TEST_F(BatcherTest, ExpiredAndCancelledRequestsAreNeverExecuted) {
  const auto version = Make("slow");
  gate_->Set(false);
  Batcher batcher({.threads = 1, .metrics = &metrics_});
  const float x = 1;
  absl::BlockingCounter left(3);
  absl::Status late, gone;
  InferenceJob first = Job(version, &x);
  first.done = [&](BatchResult) { left.DecrementCount(); };
  ASSERT_TRUE(batcher.Add(std::move(first)).ok());
  gate_->AwaitWaiting(1);
  InferenceJob expired = Job(version, &x);
  expired.deadline = absl::Now();
  expired.done = [&](BatchResult result) {
    late = result.outputs.status();
    left.DecrementCount();
  };
  ASSERT_TRUE(batcher.Add(std::move(expired)).ok());
  InferenceJob cancelled = Job(version, &x);
  cancelled.cancelled = [] { return true; };
  cancelled.done = [&](BatchResult result) {
    gone = result.outputs.status();
    left.DecrementCount();
  };
  ASSERT_TRUE(batcher.Add(std::move(cancelled)).ok());
  gate_->Set(true);
  left.Wait();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(gone.code(), absl::StatusCode::kCancelled);
  absl::MutexLock lock(&gate_->mutex);
  EXPECT_EQ(gate_->predictions, 1);
}

TEST_F(BatcherTest, TheQueueIsBounded) {
  const auto version = Make("slow");
  gate_->Set(false);
  Batcher batcher({.threads = 1, .max_requests = 2, .metrics = &metrics_});
  const float x = 1;
  absl::BlockingCounter left(3);
  const auto add = [&] {
    InferenceJob job = Job(version, &x);
    job.done = [&](BatchResult) { left.DecrementCount(); };
    return batcher.Add(std::move(job));
  };
  ASSERT_TRUE(add().ok());
  gate_->AwaitWaiting(1);
  ASSERT_TRUE(add().ok());
  ASSERT_TRUE(add().ok());
  EXPECT_EQ(add().code(), absl::StatusCode::kResourceExhausted);
  gate_->Set(true);
  left.Wait();
}

TEST_F(BatcherTest, DependentRowsRunOneByOne) {
  EXPECT_TRUE(Batcher::Batchable(*Make("m")));
  EXPECT_FALSE(Batcher::Batchable(*Make("whole")));
}

}  // namespace
}  // namespace strata::service
