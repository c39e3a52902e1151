#include "engine/exec/context.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

#include "engine/base/status.h"
#include "engine/kernels/parallel.h"

namespace strata {

Context::Context(const Plan* plan, std::vector<void*> variables)
    : plan_(plan), arena_(DType::kU8, {plan->arena_bytes}), variables_(std::move(variables)) {
  STRATA_CHECK(variables_.size() == plan_->graph.variables().size());
  inputs_.resize(plan_->graph.inputs().size());
  outputs_.resize(plan_->graph.outputs().size());
  for (const PlanStep& step : plan_->steps) {
    first_in_.push_back(in_.size());
    first_out_.push_back(out_.size());
    for (ValueId v : step.in) {
      const Place& place = plan_->places[v];
      if (place.kind == Place::Kind::kInput) input_patches_.push_back({in_.size(), place.index, place.offset});
      if (place.kind == Place::Kind::kOutput) read_patches_.push_back({in_.size(), place.index, place.offset});
      in_.push_back(Resolve(v));
    }
    for (ValueId v : step.out) {
      const Place& place = plan_->places[v];
      if (place.kind == Place::Kind::kOutput) output_patches_.push_back({out_.size(), place.index, 0});
      out_.push_back(const_cast<void*>(Resolve(v)));
    }
    states_.push_back(step.kernel ? step.kernel->MakeState() : nullptr);
  }
}

const void* Context::Resolve(ValueId v) const {
  const Place& place = plan_->places[v];
  const char* start = static_cast<const char*>(StartOf(place));
  return start == nullptr ? nullptr : start + place.offset;
}

const void* Context::StartOf(const Place& place) const {
  switch (place.kind) {
    case Place::Kind::kArena:
      return arena_.data<char>() + place.index;
    case Place::Kind::kVariable:
      return variables_[place.index];
    case Place::Kind::kConstant:
      return place.constant;
    case Place::Kind::kInput:
      return inputs_[place.index];
    case Place::Kind::kOutput:
      return outputs_[place.index];
    case Place::Kind::kNone:
      break;
  }
  return nullptr;
}

void Context::Bind(std::span<const void* const> inputs, std::span<void* const> outputs) {
  STRATA_CHECK(inputs.size() == inputs_.size());
  std::copy(inputs.begin(), inputs.end(), inputs_.begin());
  // An input that a run does not need yet may be null (Pack).
  const auto at = [](const void* start, int64_t offset) {
    return start == nullptr ? nullptr : static_cast<const char*>(start) + offset;
  };
  for (const Patch& p : input_patches_) in_[p.slot] = at(inputs[p.index], p.offset);
  if (output_patches_.empty()) return;
  STRATA_CHECK(outputs.size() == outputs_.size());
  std::copy(outputs.begin(), outputs.end(), outputs_.begin());
  for (const Patch& p : read_patches_) in_[p.slot] = at(outputs[p.index], p.offset);
  for (const Patch& p : output_patches_) out_[p.slot] = outputs[p.index];
}

void Context::Pack(std::span<const void* const> inputs) {
  Bind(inputs, outputs_);
  for (size_t s = 0; s < plan_->steps.size(); ++s) {
    if (plan_->steps[s].kernel != nullptr) plan_->steps[s].kernel->Pack(Arguments(s));
  }
}

bool Context::Run(std::span<const void* const> inputs, std::span<void* const> outputs) {
  Bind(inputs, outputs);
  // oneDNN's own threads stay unused: kernels share their work themselves (kernels/parallel.h).
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  RunSteps(0, plan_->first_write);
  if (plan_->commit >= 0 && *static_cast<const uint8_t*>(Resolve(plan_->commit)) == 0) return false;
  RunSteps(plan_->first_write, plan_->steps.size());
  return true;
}

void Context::RunSteps(size_t begin, size_t end) {
  for (size_t s = begin; s < end;) {
    if (gives_way_) gives_way_->Wait();
    const int32_t band = plan_->steps[s].band;
    const size_t count = band < 0 ? 1 : plan_->bands[band].count;
    const auto run = [&] { band < 0 ? RunStep(s) : RunBand(plan_->bands[band]); };
    if (nanoseconds_.empty()) {
      run();
    } else {
      const auto start = std::chrono::steady_clock::now();
      run();
      const int64_t took = std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
      if (nanoseconds_[s] < 0 || took < nanoseconds_[s]) nanoseconds_[s] = took;
    }
    s += count;
  }
}

void Context::RunBand(const Band& band) {
  band_.clear();
  for (size_t i = 0; i < band.count; ++i) band_.push_back(Arguments(band.first + i));
  const PlanStep* steps = &plan_->steps[band.first];
  ParallelFor(plan_->threads, band.parts, [&](int64_t part, int) {
    for (size_t i = 0; i < band_.size(); ++i) steps[i].kernel->RunRows(band_[i], part);
  });
  for (size_t i = 0; i < band_.size(); ++i) steps[i].kernel->FinishRows(band_[i]);
}

void Context::RunStep(size_t s) {
  const PlanStep& step = plan_->steps[s];
  if (step.kernel == nullptr) {
    std::memcpy(variables_[step.variable], in_[first_in_[s]], static_cast<size_t>(step.bytes));
    return;
  }
  step.kernel->Run(Arguments(s));
}

KernelArgs Context::Arguments(size_t s) {
  const int64_t scratch = plan_->steps[s].scratch;
  return {in_.data() + first_in_[s], out_.data() + first_out_[s], variables_.data(),
          scratch >= 0 ? arena_.data<char>() + scratch : nullptr, states_[s].get()};
}

void Context::StartProfile() {
  nanoseconds_.assign(plan_->steps.size(), -1);
  for (const Band& band : plan_->bands)
    std::fill_n(nanoseconds_.begin() + static_cast<std::ptrdiff_t>(band.first) + 1, band.count - 1, 0);
  for (const std::unique_ptr<KernelState>& state : states_) {
    if (state != nullptr) state->StartProfile();
  }
}

std::string Context::Profile() const {
  std::vector<size_t> order(nanoseconds_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return nanoseconds_[a] > nanoseconds_[b]; });
  const double total = static_cast<double>(std::accumulate(nanoseconds_.begin(), nanoseconds_.end(), int64_t{0}));
  std::string out = absl::StrFormat("%.1f us in %d steps\n", total / 1000, order.size());
  for (const size_t s : order) {
    const PlanStep& step = plan_->steps[s];
    const double mine = static_cast<double>(nanoseconds_[s]);
    absl::StrAppendFormat(&out, "%9.2f us %5.1f %%  %s", mine / 1000, 100 * mine / std::max(total, 1.0),
                          step.kernel ? step.kernel->name() : "copy");
    for (ValueId v : step.in) absl::StrAppend(&out, " ", ShapeString(plan_->graph.info(v).shape));
    absl::StrAppend(&out, " ->");
    for (ValueId v : step.out) absl::StrAppend(&out, " %", v, ShapeString(plan_->graph.info(v).shape));
    if (step.band >= 0) {
      const Band& band = plan_->bands[step.band];
      if (band.first == s) absl::StrAppend(&out, ", and ", band.count - 1, " more in ", band.parts, " parts");
    }
    absl::StrAppend(&out, "\n");
    if (states_[s] == nullptr) continue;
    // Of the step's own steps.
    for (absl::string_view line : absl::StrSplit(states_[s]->Profile(), '\n', absl::SkipEmpty())) {
      absl::StrAppend(&out, "    | ", line, "\n");
    }
  }
  return out;
}

const void* Context::output(size_t i) const { return Resolve(plan_->graph.outputs()[i].value); }

}  // namespace strata
