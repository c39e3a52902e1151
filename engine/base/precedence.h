// Predictions go before training on the cores that they share. Training runs at lower priority, which decides between
// threads that want the same core, and gives way between the steps of its plan, which frees all of its cores at once.
#pragma once

#include <chrono>

namespace strata {

// A prediction waits or runs. Calls come in pairs, from any thread.
void BeginUrgentWork();
void EndUrgentWork();

// Called between pieces of work that can wait.
class GivesWay {
 public:
  using Clock = std::chrono::steady_clock;

  // Waits while there is urgent work: at most for `most`, and in all no longer than the time spent outside, so that
  // steady predictions leave half of the time.
  void Wait(Clock::duration most = std::chrono::milliseconds(5));

 private:
  Clock::time_point left_ = Clock::now();  // the last wait
  Clock::duration credit_{};               // time spent outside that is not waited back yet
};

}  // namespace strata
