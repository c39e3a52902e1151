// Runs a scan: the body's plan once per step, over views of the sequences. Carried values alternate between two
// buffers.
#include <cstring>

#include "engine/base/status.h"
#include "engine/exec/context.h"
#include "engine/kernels/kernel.h"

namespace strata {
namespace {

class ScanKernel : public Kernel {
 public:
  ScanKernel(const KernelRequest& r, std::unique_ptr<const Plan> body)
      : attrs_(r.node.as<ScanAttrs>()), body_(std::move(body)), num_in_(r.node.inputs.size()) {
    const auto bytes = [](const ValueInfo& v) { return NumElements(v.shape) * static_cast<int64_t>(SizeOf(v.dtype)); };
    for (const NamedValue& v : body_->graph.inputs()) in_bytes_.push_back(bytes(body_->graph.info(v.value)));
    for (const NamedValue& v : body_->graph.outputs()) out_bytes_.push_back(bytes(body_->graph.info(v.value)));
  }
  const char* name() const override { return "scan"; }

  struct State : KernelState {
    explicit State(const Plan* body) : context(body, {}) {}
    Context context;
    std::vector<const void*> inputs;
  };
  std::unique_ptr<KernelState> MakeState() const override {
    auto state = std::make_unique<State>(body_.get());
    state->inputs.resize(num_in_);
    return state;
  }

  void Run(const KernelArgs& args) const override {
    State& state = *static_cast<State*>(args.state);
    const int32_t carries = attrs_.num_carry, first_constant = carries + attrs_.num_sequences;
    for (int32_t i = 0; i < carries; ++i) std::memcpy(args.out[i], args.in[i], in_bytes_[i]);
    for (size_t i = 0; i < num_in_; ++i) state.inputs[i] = static_cast<int32_t>(i) < carries ? args.out[i] : args.in[i];
    if (attrs_.length > 1) state.context.Pack(state.inputs);
    for (int64_t k = 0; k < attrs_.length; ++k) {
      const int64_t t = attrs_.reverse ? attrs_.length - 1 - k : k;
      for (int32_t i = carries; i < first_constant; ++i) {
        state.inputs[i] = static_cast<const char*>(args.in[i]) + t * in_bytes_[i];
      }
      state.context.Run(state.inputs);
      // Sequences first: they may be the carried values that the next lines overwrite.
      for (size_t i = carries; i < out_bytes_.size(); ++i) {
        std::memcpy(static_cast<char*>(args.out[i]) + t * out_bytes_[i], state.context.output(i), out_bytes_[i]);
      }
      for (int32_t i = 0; i < carries; ++i) {
        const void* next = state.context.output(i);
        if (next != args.out[i]) std::memmove(args.out[i], next, out_bytes_[i]);
      }
    }
  }

 private:
  ScanAttrs attrs_;
  std::unique_ptr<const Plan> body_;
  size_t num_in_;
  std::vector<int64_t> in_bytes_, out_bytes_;
};

}  // namespace

std::unique_ptr<Kernel> MakeScanKernel(const KernelRequest& r, std::string* why) {
  const auto& attrs = r.node.as<ScanAttrs>();
  // Carried outputs that are another carried input unchanged would be overwritten before they are read.
  const Graph& body = *attrs.body;
  for (int32_t i = 0; i < attrs.num_carry; ++i) {
    for (int32_t j = 0; j < attrs.num_carry; ++j) {
      if (i != j && body.outputs()[i].value == body.inputs()[j].value) {
        *why = "scan: carried values change places";
        return nullptr;
      }
    }
  }
  const size_t constants = r.node.inputs.size() - static_cast<size_t>(attrs.num_carry + attrs.num_sequences);
  Graph copy = Prune(body);
  absl::StatusOr<std::unique_ptr<const Plan>> plan =
      MakePlan(std::move(copy), {.threads = r.threads, .steady_inputs = attrs.length > 1 ? constants : 0});
  STRATA_CHECK(plan.ok());
  return std::make_unique<ScanKernel>(r, *std::move(plan));
}

}  // namespace strata
