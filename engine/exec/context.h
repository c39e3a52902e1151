// Runs plans. A context belongs to one thread at a time and holds what a run writes: the arena, kernels' states,
// resolved pointers. After the first run our own code allocates nothing.
//
//   Context context(plan, variable_pointers);
//   context.Run(input_pointers);
//   const float* y = static_cast<const float*>(context.output(0));
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/precedence.h"
#include "engine/plan/plan.h"

namespace strata {

class Context {
 public:
  // `plan` and the variables' memory must outlive the context. One pointer per variable of the plan's graph.
  Context(const Plan* plan, std::vector<void*> variables);

  // One pointer per input and, if the plan places outputs, per output. Returns whether variables were written (the
  // "commit" output, if there is one).
  bool Run(std::span<const void* const> inputs, std::span<void* const> outputs = {});

  // Runs give way to urgent work between steps, and between bands of steps.
  void GiveWay() { gives_way_.emplace(); }

  // Tells the kernels that the plan's steady inputs have changed; before the runs that read them.
  void Pack(std::span<const void* const> inputs);

  // Valid until the next run.
  const void* output(size_t i) const;
  const Plan& plan() const { return *plan_; }
  int64_t memory_bytes() const { return plan_->arena_bytes; }

  // Times every step from now on; Profile() lists the steps, the slowest first: each one's fastest time, which other
  // work on the machine disturbs least.
  void StartProfile();
  std::string Profile() const;

 private:
  struct Patch {
    size_t slot;
    int64_t index, offset;
  };
  const void* Resolve(ValueId v) const;
  const void* StartOf(const Place& place) const;
  void Bind(std::span<const void* const> inputs, std::span<void* const> outputs);
  KernelArgs Arguments(size_t s);
  void RunSteps(size_t begin, size_t end);
  void RunStep(size_t s);
  void RunBand(const Band& band);

  const Plan* plan_;
  Tensor arena_;
  std::vector<void*> variables_;
  std::vector<const void*> in_;  // all steps' operands, one after the other
  std::vector<void*> out_;
  std::vector<size_t> first_in_, first_out_;
  std::vector<Patch> input_patches_, read_patches_, output_patches_;  // operands that are inputs or outputs; results
  std::vector<std::unique_ptr<KernelState>> states_;
  std::vector<KernelArgs> band_;     // of the steps of the band that runs
  std::vector<const void*> inputs_;  // of the last run
  std::vector<void*> outputs_;       // likewise; null: in the arena
  std::optional<GivesWay> gives_way_;
  std::vector<int64_t> nanoseconds_;  // by step, while profiling: the least so far
};

}  // namespace strata
