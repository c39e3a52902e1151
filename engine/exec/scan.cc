// Runs a scan: the body's plan once per step, over views of the sequences. Carried values alternate between two
// buffers. If the rows of the body are independent, each thread runs all steps of a range of rows: nobody waits for
// anybody before the end.
#include <cstring>

#include "engine/base/status.h"
#include "engine/exec/context.h"
#include "engine/exec/rows.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"

namespace strata {
namespace {

class ScanKernel : public Kernel {
 public:
  // `parts` make up the whole batch. With several, axis 0 counts rows in every carried value and output, and in inputs
  // marked in `batched`.
  ScanKernel(const KernelRequest& r, std::vector<RowPart> parts, const std::vector<bool>& batched)
      : attrs_(r.node.as<ScanAttrs>()), parts_(std::move(parts)), threads_(r.threads) {
    const auto bytes = [](const ValueInfo& v) { return NumElements(v.shape) * static_cast<int64_t>(SizeOf(v.dtype)); };
    const Graph& body = *attrs_.body;
    int64_t all = 0;
    for (const RowPart& part : parts_) all += part.rows;
    for (size_t i = 0; i < body.inputs().size(); ++i) {
      const int64_t whole = bytes(body.info(body.inputs()[i].value));
      in_.push_back({whole, batched[i] ? whole / all : 0});
    }
    for (const NamedValue& v : body.outputs()) {
      const int64_t whole = bytes(body.info(v.value));
      out_.push_back({whole, whole / all});
    }
  }
  const char* name() const override { return parts_.size() > 1 ? "scan_rows" : "scan"; }
  int64_t packed_bytes() const override {
    int64_t bytes = 0;
    for (const RowPart& part : parts_) bytes += part.plan->packed_bytes;
    return bytes;
  }

  struct Work {
    explicit Work(const Plan* body) : context(body, {}), inputs(body->graph.inputs().size()) {}
    Context context;
    std::vector<const void*> inputs;
  };
  struct State : KernelState {
    std::vector<std::unique_ptr<Work>> parts;
  };
  std::unique_ptr<KernelState> MakeState() const override {
    auto state = std::make_unique<State>();
    for (const RowPart& part : parts_) state->parts.push_back(std::make_unique<Work>(part.plan.get()));
    return state;
  }

  void Run(const KernelArgs& args) const override {
    State& state = *static_cast<State*>(args.state);
    ParallelFor(threads_, static_cast<int64_t>(parts_.size()),
                [&](int64_t i, int) { RunPart(parts_[i], *state.parts[i], args); });
  }

 private:
  // Bytes of one step of a value, and of one of its rows (0: all rows share it).
  struct Size {
    int64_t step, row;
  };

  void RunPart(const RowPart& part, Work& work, const KernelArgs& args) const {
    const int32_t carries = attrs_.num_carry, first_constant = carries + attrs_.num_sequences;
    const auto from = [&](size_t i) { return static_cast<const char*>(args.in[i]) + in_[i].row * part.first_row; };
    const auto to = [&](size_t i) { return static_cast<char*>(args.out[i]) + out_[i].row * part.first_row; };
    // What one step of this part takes.
    const auto bytes = [&](size_t i) { return parts_.size() > 1 ? out_[i].row * part.rows : out_[i].step; };
    for (int32_t i = 0; i < carries; ++i) std::memcpy(to(i), from(i), bytes(i));
    for (size_t i = 0; i < in_.size(); ++i) work.inputs[i] = static_cast<int32_t>(i) < carries ? to(i) : from(i);
    if (attrs_.length > 1) work.context.Pack(work.inputs);
    for (int64_t k = 0; k < attrs_.length; ++k) {
      const int64_t t = attrs_.reverse ? attrs_.length - 1 - k : k;
      for (int32_t i = carries; i < first_constant; ++i) work.inputs[i] = from(i) + t * in_[i].step;
      work.context.Run(work.inputs);
      // Sequences first: they may be the carried values that the next lines overwrite.
      for (size_t i = carries; i < out_.size(); ++i) {
        std::memcpy(to(i) + t * out_[i].step, work.context.output(i), bytes(i));
      }
      for (int32_t i = 0; i < carries; ++i) {
        const void* next = work.context.output(i);
        if (next != to(i)) std::memmove(to(i), next, bytes(i));
      }
    }
  }

  ScanAttrs attrs_;
  std::vector<RowPart> parts_;
  int threads_;
  std::vector<Size> in_, out_;
};

// Which inputs of a body have a row per entry of the batch, the leading axis of the carried values.
std::vector<bool> BatchedInputs(const Graph& body, const ScanAttrs& attrs, int64_t batch) {
  std::vector<bool> batched;
  for (size_t i = 0; i < body.inputs().size(); ++i) {
    const Shape& shape = body.info(body.inputs()[i].value).shape;
    const bool step = static_cast<int32_t>(i) < attrs.num_carry + attrs.num_sequences;
    batched.push_back(step && !shape.empty() && shape[0] == batch);
  }
  return batched;
}

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
  const Shape rows = attrs.num_carry > 0 ? body.info(body.inputs()[0].value).shape : Shape{};
  const int64_t batch = rows.empty() ? 1 : rows[0];
  const std::vector<bool> batched = BatchedInputs(body, attrs, batch);
  const size_t constants = r.node.inputs.size() - static_cast<size_t>(attrs.num_carry + attrs.num_sequences);
  const PlanOptions options{.threads = r.threads, .bf16 = r.bf16, .steady_inputs = attrs.length > 1 ? constants : 0};
  std::vector<RowPart> parts = PlanByRows(body, batched, options);
  if (parts.empty()) {
    absl::StatusOr<std::unique_ptr<const Plan>> plan = MakePlan(Prune(body), options);
    STRATA_CHECK(plan.ok());
    parts.push_back({0, batch, *std::move(plan)});
  }
  return std::make_unique<ScanKernel>(r, std::move(parts), batched);
}

}  // namespace strata
