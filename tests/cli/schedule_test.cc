#include "cli/schedule.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "cli/trainer.h"

namespace strata::cli {
namespace {

// "b1 b2 e1.0 e1.1| ..." up to the end of the run.
std::string Rest(Schedule schedule) {
  std::string text;
  for (int i = 0; i < 100; ++i) {
    const Item item = schedule.Next();
    switch (item.kind) {
      case Item::Kind::kBatch:
        absl::StrAppend(&text, "b", item.sequence);
        break;
      case Item::Kind::kEvaluate:
        absl::StrAppend(&text, "e", item.epoch, ".", item.part);
        break;
      case Item::Kind::kPublish:
        absl::StrAppend(&text, "publish");
        break;
      case Item::Kind::kFinish:
        return text + "finish";
    }
    absl::StrAppend(&text, item.last ? "| " : " ");
  }
  return text + "endless";
}

Schedule Make(bool publish, int64_t evaluations = 2) {
  return Schedule({.batches_per_epoch = 2, .evaluations_per_epoch = evaluations, .epochs = 2, .publish = publish});
}

TEST(Schedule, FromTheStart) {
  EXPECT_EQ(Rest(Make(true)), "b1 b2| e1.0 e1.1| b3 b4| e2.0 e2.1| publish finish");
  EXPECT_EQ(Rest(Make(false, 0)), "b1 b2| b3 b4| finish");
}

TEST(Schedule, GoesOnWhereTheRunStands) {
  const struct {
    const char* name;
    uint64_t next;
    int64_t evaluated;
    bool published;
    const char* want;
  } kCases[] = {
      {"nothing durable", 1, 0, false, "b1 b2| e1.0 e1.1| b3 b4| e2.0 e2.1| publish finish"},
      {"within an epoch", 2, 0, false, "b2| e1.0 e1.1| b3 b4| e2.0 e2.1| publish finish"},
      {"evaluation not answered", 3, 0, false, "e1.0 e1.1| b3 b4| e2.0 e2.1| publish finish"},
      {"evaluation answered", 3, 1, false, "b3 b4| e2.0 e2.1| publish finish"},
      {"back before an evaluation", 2, 1, false, "b2| e1.0 e1.1| b3 b4| e2.0 e2.1| publish finish"},
      {"all but the version", 5, 2, false, "publish finish"},
      {"all but the end", 5, 2, true, "finish"},
      {"last evaluation not answered", 5, 1, false, "e2.0 e2.1| publish finish"},
      {"more than was asked for", 9, 4, true, "finish"},
  };
  for (const auto& c : kCases) {
    Schedule schedule = Make(true);
    schedule.Seek(c.next, c.evaluated, c.published);
    EXPECT_EQ(Rest(schedule), c.want) << c.name;
  }
}

TEST(Backoff, GrowsToItsLimit) {
  Backoff backoff;
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(200));
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(300));
  absl::Duration last;
  for (int i = 0; i < 20; ++i) last = backoff.Next();
  EXPECT_EQ(last, absl::Seconds(5));
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), absl::Milliseconds(200));
}

}  // namespace
}  // namespace strata::cli
