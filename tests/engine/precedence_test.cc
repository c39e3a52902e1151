#include "engine/base/precedence.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace strata {
namespace {

// Waits through short urgent work, as long as there is credit.
TEST(Precedence, WaitsForUrgentWork) {
  GivesWay gives_way;
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // work that gives credit
  std::atomic<bool> done{false};
  BeginUrgentWork();
  std::thread prediction([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    done = true;
    EndUrgentWork();
  });
  gives_way.Wait(std::chrono::seconds(10));
  const bool waited = done;
  prediction.join();
  EXPECT_TRUE(waited);
}

// Urgent work without end holds nobody up for ever: each wait ends, and none is longer than what was worked before.
TEST(Precedence, SteadyUrgentWorkLeavesHalf) {
  BeginUrgentWork();
  GivesWay gives_way;
  int rounds = 0;
  for (; rounds < 100; ++rounds) gives_way.Wait();
  EndUrgentWork();
  EXPECT_EQ(rounds, 100);
}

}  // namespace
}  // namespace strata
