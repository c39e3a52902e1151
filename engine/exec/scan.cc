// Runs a scan: the body's plan once per step, over views of the sequences. Steps write their results where they belong,
// into the stacked sequences; a carried value that is itself saved for every step lives there, any other one alternates
// between two buffers. If the rows of the body are independent, each thread runs all steps of a range of rows: nobody
// waits for anybody before the end.
#include <algorithm>
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
    const Graph& body = *attrs_.body;
    int64_t all = 0;
    for (const RowPart& part : parts_) all += part.rows;
    all = std::max<int64_t>(all, 1);  // an empty batch has no bytes to share out
    for (size_t i = 0; i < body.inputs().size(); ++i) {
      const int64_t whole = BytesOf(body.info(body.inputs()[i].value));
      in_.push_back({whole, batched[i] ? whole / all : 0});
    }
    for (const NamedValue& v : body.outputs()) {
      const int64_t whole = BytesOf(body.info(v.value));
      out_.push_back({whole, whole / all});
    }
    for (int32_t i = 0; i < attrs_.num_carry; ++i) {
      saved_in_.push_back(-1);
      for (size_t o = attrs_.num_carry; o < body.outputs().size(); ++o) {
        if (body.outputs()[o].value == body.inputs()[i].value) saved_in_[i] = static_cast<int32_t>(o);
      }
    }
  }
  const char* name() const override { return parts_.size() > 1 ? "scan_rows" : "scan"; }
  int64_t packed_bytes() const override {
    int64_t bytes = 0;
    for (const RowPart& part : parts_) bytes += part.plan->packed_bytes;
    return bytes;
  }

  // What one part works with.
  struct Work {
    explicit Work(const Plan* body) : context(body, {}), inputs(body->graph.inputs().size()) {}
    Context context;
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    std::vector<Tensor> carried;  // the second buffer of each carried value
  };
  struct State : KernelState {
    std::vector<std::unique_ptr<Work>> parts;
    void StartProfile() override { parts[0]->context.StartProfile(); }
    std::string Profile() const override { return parts[0]->context.Profile(); }
  };
  std::unique_ptr<KernelState> MakeState() const override {
    auto state = std::make_unique<State>();
    for (const RowPart& part : parts_) {
      auto work = std::make_unique<Work>(part.plan.get());
      work->outputs.resize(out_.size());
      for (int32_t i = 0; i < attrs_.num_carry; ++i) {
        work->carried.emplace_back(DType::kU8, Shape{saved_in_[i] >= 0 ? 0 : Bytes(part, i)});
      }
      state->parts.push_back(std::move(work));
    }
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

  // What one step of a part takes of an output.
  int64_t Bytes(const RowPart& part, size_t output) const {
    return parts_.size() > 1 ? out_[output].row * part.rows : out_[output].step;
  }

  void RunPart(const RowPart& part, Work& work, const KernelArgs& args) const {
    const int32_t carries = attrs_.num_carry, first_constant = carries + attrs_.num_sequences;
    const auto time = [&](int64_t k) { return attrs_.reverse ? attrs_.length - 1 - k : k; };
    const auto from = [&](size_t i) { return static_cast<const char*>(args.in[i]) + in_[i].row * part.first_row; };
    const auto to = [&](size_t i) { return static_cast<char*>(args.out[i]) + out_[i].row * part.first_row; };
    // Where carried value i is before step k; after the last step it is the scan's result.
    const auto carried = [&](int32_t i, int64_t k) {
      if (k == attrs_.length) return to(i);
      if (saved_in_[i] >= 0) return to(saved_in_[i]) + time(k) * out_[saved_in_[i]].step;
      return (attrs_.length - k) % 2 == 0 ? to(i) : work.carried[i].data<char>();
    };
    for (int32_t i = 0; i < carries; ++i) std::memcpy(carried(i, 0), from(i), Bytes(part, i));
    for (size_t i = first_constant; i < in_.size(); ++i) work.inputs[i] = from(i);
    if (attrs_.length > 1) work.context.Pack(work.inputs);
    for (int64_t k = 0; k < attrs_.length; ++k) {
      const int64_t t = time(k);
      for (int32_t i = 0; i < first_constant; ++i) {
        work.inputs[i] = i < carries ? carried(i, k) : from(i) + t * in_[i].step;
      }
      for (size_t i = 0; i < out_.size(); ++i) {
        const auto carry = static_cast<int32_t>(i);
        work.outputs[i] = carry < carries ? carried(carry, k + 1) : to(i) + t * out_[i].step;
      }
      work.context.Run(work.inputs, work.outputs);
      // What no step of the body wrote: its own inputs, and values that are several outputs.
      for (size_t i = 0; i < out_.size(); ++i) {
        const void* made = work.context.output(i);
        if (made != work.outputs[i]) std::memcpy(work.outputs[i], made, Bytes(part, i));
      }
    }
  }

  ScanAttrs attrs_;
  std::vector<RowPart> parts_;
  int threads_;
  std::vector<Size> in_, out_;
  std::vector<int32_t> saved_in_;  // by carried value: the output that has it before each step, or -1
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

std::unique_ptr<Kernel> MakeScanKernel(const KernelRequest& r, std::string* /*why*/) {
  const auto& attrs = r.node.as<ScanAttrs>();
  const Graph& body = *attrs.body;
  const Shape rows = attrs.num_carry > 0 ? body.info(body.inputs()[0].value).shape : Shape{};
  const int64_t batch = rows.empty() ? 1 : rows[0];
  const std::vector<bool> batched = BatchedInputs(body, attrs, batch);
  const size_t constants = r.node.inputs.size() - static_cast<size_t>(attrs.num_carry + attrs.num_sequences);
  const PlanOptions options{
      .threads = r.threads, .bf16 = r.bf16, .steady_inputs = attrs.length > 1 ? constants : 0, .place_outputs = true};
  std::vector<RowPart> parts = PlanByRows(body, batched, 0, options);
  if (parts.empty()) {
    absl::StatusOr<std::unique_ptr<const Plan>> plan = MakePlan(Prune(body), options);
    STRATA_CHECK(plan.ok());
    parts.push_back({0, batch, *std::move(plan)});
  }
  return std::make_unique<ScanKernel>(r, std::move(parts), batched);
}

}  // namespace strata
