#include "engine/base/precedence.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace strata {
namespace {

std::atomic<int> urgent{0};

// A prediction of a small model takes about as long as waking up from this.
constexpr auto kNap = std::chrono::microseconds(50);

}  // namespace

void BeginUrgentWork() { urgent.fetch_add(1, std::memory_order_relaxed); }
void EndUrgentWork() { urgent.fetch_sub(1, std::memory_order_relaxed); }

void GivesWay::Wait(Clock::duration most) {
  if (urgent.load(std::memory_order_relaxed) == 0) return;
  const Clock::time_point start = Clock::now();
  // What was saved up long ago does not count: no prediction stops training for long.
  credit_ = std::min(credit_ + (start - left_), most);
  const Clock::time_point end = start + credit_;
  left_ = start;
  while (urgent.load(std::memory_order_relaxed) > 0 && left_ < end) {
    std::this_thread::sleep_for(std::min<Clock::duration>(kNap, end - left_));
    left_ = Clock::now();
  }
  credit_ -= std::min(credit_, left_ - start);
}

}  // namespace strata
