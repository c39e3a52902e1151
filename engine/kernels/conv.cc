// Convolutions and their gradients by oneDNN. Activations stay channels last; weights, which are small, are brought to
// the layout that the primitive wants and back: constant ones once, when the kernel is made.
#include <algorithm>

#include "engine/kernels/onednn.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

using dnnl::memory;
using dnnl::prop_kind;

constexpr auto kF32 = memory::data_type::f32;

// Dims in oneDNN's order (batch, channels, spatial) with the strides of channels-last memory.
memory::desc Activations(const Shape& shape, memory::data_type type) {
  const Shape s = Strides(shape);
  memory::dims dims{shape.front(), shape.back()}, strides{s.front(), s.back()};
  dims.insert(dims.end(), shape.begin() + 1, shape.end() - 1);
  strides.insert(strides.end(), s.begin() + 1, s.end() - 1);
  return memory::desc(dims, type, strides);
}

// Dims ([groups,] out, in, spatial) with the strides of [K..., C/g, O] or, with weights_oi, [O, C/g, K...].
memory::desc Weights(const ConvAttrs& at, const Shape& shape) {
  const size_t rank = shape.size(), out = at.weights_oi ? 0 : rank - 1, in = at.weights_oi ? 1 : rank - 2;
  const size_t spatial = at.weights_oi ? 2 : 0;
  const Shape s = Strides(shape);
  memory::dims dims, strides;
  if (at.groups > 1) {
    dims.push_back(at.groups);
    strides.push_back(shape[out] / at.groups * s[out]);
  }
  for (const size_t axis : {out, in}) {
    dims.push_back(axis == out ? shape[out] / at.groups : shape[in]);
    strides.push_back(s[axis]);
  }
  for (size_t d = 0; d + 2 < rank; ++d) {
    dims.push_back(shape[spatial + d]);
    strides.push_back(s[spatial + d]);
  }
  return memory::desc(dims, kF32, strides);
}

memory::desc AnyLayout(const memory::desc& d, memory::data_type type) {
  return memory::desc(d.dims(), type, memory::format_tag::any);
}

// Where an argument lives: an operand or result of the node, the kernel's scratch memory, or that of one thread, or
// weights that the kernel holds; and its offset in bytes.
struct Source {
  enum class Kind : uint8_t { kIn, kOut, kScratch, kSlot, kHeld } kind;
  int64_t index = 0;
  int64_t offset = 0;
};

struct Argument {
  int id;
  memory::desc desc;
  Source source;
};
struct Call {
  dnnl::primitive primitive;
  std::vector<Argument> arguments;
};
// A range of the batch: copies of its activations in bfloat16, if there are any, then the convolution.
struct Piece {
  std::vector<Call> copies;
  Call convolution;
};
// Place of the result among a convolution's arguments.
constexpr size_t kResult = 2;

// A part of a convolution: samples, and of a single sample rows of the result (its first spatial axis).
struct Range {
  int64_t first, count;
  int64_t row = 0, rows = -1;  // -1: all
};

// Weights go to the primitive's layout; ranges of the batch are convolved side by side; a weight gradient's ranges are
// added, in order, and go back to the weights' own layout.
class ConvKernel : public Kernel {
 public:
  explicit ConvKernel(const KernelRequest& r)
      : op_(r.node.op),
        at_(r.node.as<ConvAttrs>()),
        threads_(r.threads),
        v_(GetVectorOps()),
        type_(r.bf16 && at_.groups == 1 ? memory::data_type::bf16 : kF32),
        constant_(op_ == Op::kConvGradWeight ? nullptr : r.Constant(1)) {
    const OneThreadScope one_thread;
    for (size_t d = 0; d < at_.stride.size(); ++d) {
      stride_.push_back(at_.stride[d]);
      dilation_.push_back(at_.dilation[d] - 1);
      pad_lo_.push_back(at_.pad_lo[d]);
      pad_hi_.push_back(at_.pad_hi[d]);
    }
    const bool input = op_ == Op::kConvGradInput, weight = op_ == Op::kConvGradWeight;
    x_ = input ? r.out(0).shape : r.in(0).shape;
    y_ = op_ == Op::kConv ? r.out(0).shape : input ? r.in(0).shape : r.in(1).shape;
    w_ = Weights(at_, weight ? r.out(0).shape : r.in(1).shape);
    const int64_t work = NumElements(y_) * w_.get_size() / 4 / y_.back();
    // Partial weight gradients have to be added: fewer ranges.
    for (const Range& range : Ranges(work)) AddRange(range);
    if (weight) FinishGradWeight();
  }

  const char* name() const override { return name_.c_str(); }
  int64_t scratch_bytes() const override { return scratch_ + slot_ * threads_; }
  int64_t packed_bytes() const override {
    int64_t bytes = 0;
    for (const Tensor& t : held_) bytes += static_cast<int64_t>(t.size_bytes());
    return bytes;
  }

  struct State : KernelState {
    std::vector<DnnlArguments> before, ranges, after;
    std::vector<std::vector<DnnlArguments>> copies;  // by range
  };
  std::unique_ptr<KernelState> MakeState() const override {
    auto state = std::make_unique<State>();
    const auto add = [](const std::vector<Call>& calls, std::vector<DnnlArguments>* to) {
      for (const Call& call : calls) {
        to->emplace_back(call.primitive);
        for (const Argument& a : call.arguments) to->back().Add(a.id, a.desc);
      }
    };
    add(before_, &state->before);
    for (const Piece& piece : ranges_) {
      add({piece.convolution}, &state->ranges);
      add(piece.copies, &state->copies.emplace_back());
    }
    add(after_, &state->after);
    return state;
  }

  void Run(const KernelArgs& args) const override {
    auto& state = *static_cast<State*>(args.state);
    for (size_t i = 0; i < before_.size(); ++i) Execute(args, before_[i], &state.before[i], 0);
    ParallelFor(threads_, static_cast<int64_t>(ranges_.size()), [&](int64_t i, int slot) {
      const Piece& piece = ranges_[i];
      for (size_t c = 0; c < piece.copies.size(); ++c) Execute(args, piece.copies[c], &state.copies[i][c], slot);
      Execute(args, piece.convolution, &state.ranges[i], slot);
      if (at_.residual || at_.relu) Finish(args, piece.convolution);
    });
    for (size_t i = 1; i < ranges_.size() && op_ == Op::kConvGradWeight; ++i) {
      float* sum = reinterpret_cast<float*>(static_cast<char*>(args.scratch) + partial_);
      const float* part = sum + static_cast<int64_t>(i) * partial_bytes_ / 4;
      v_.block[static_cast<int>(BlockOp::kAdd)](sum, sum, part, nullptr, static_cast<size_t>(partial_bytes_ / 4));
    }
    for (size_t i = 0; i < after_.size(); ++i) Execute(args, after_[i], &state.after[i], 0);
  }

 private:
  void Execute(const KernelArgs& args, const Call& call, DnnlArguments* state, int slot) const {
    for (size_t a = 0; a < call.arguments.size(); ++a) state->Point(a, Address(args, call.arguments[a].source, slot));
    state->Execute();
  }

  // The residual and relu, in pieces, on a range that is still in the cache. oneDNN's own relu turns NaN into 0 and
  // would hide it from the finite check.
  void Finish(const KernelArgs& args, const Call& call) const {
    constexpr size_t kPiece = 4096;
    const Argument& y = call.arguments[kResult];
    float* data = static_cast<float*>(const_cast<void*>(Address(args, y.source, 0)));
    const size_t n = y.desc.get_size() / sizeof(float);
    const float* other =
        at_.residual ? static_cast<const float*>(args.in[at_.bias ? 3 : 2]) + y.source.offset / 4 : nullptr;
    for (size_t i = 0; i < n; i += kPiece) {
      const size_t count = std::min(kPiece, n - i);
      if (at_.residual) v_.block[static_cast<int>(BlockOp::kAdd)](data + i, data + i, other + i, nullptr, count);
      if (at_.relu) v_.block[static_cast<int>(BlockOp::kRelu)](data + i, data + i, nullptr, nullptr, count);
    }
  }

  const void* Address(const KernelArgs& args, const Source& s, int slot) const {
    switch (s.kind) {
      case Source::Kind::kIn:
        return static_cast<const char*>(args.in[s.index]) + s.offset;
      case Source::Kind::kOut:
        return static_cast<const char*>(args.out[s.index]) + s.offset;
      case Source::Kind::kScratch:
        return static_cast<const char*>(args.scratch) + s.offset;
      case Source::Kind::kSlot:
        return static_cast<const char*>(args.scratch) + scratch_ + slot * slot_ + s.offset;
      case Source::Kind::kHeld:
        return held_[s.index].raw();
    }
    return nullptr;
  }

  Source Scratch(int64_t bytes) {
    const Source s{Source::Kind::kScratch, 0, scratch_};
    scratch_ += RoundUp64(bytes);
    return s;
  }

  // In the memory of the thread, behind `used` bytes.
  void AddScratchpad(Call* call, const memory::desc& desc, int64_t used = 0) {
    const int64_t bytes = static_cast<int64_t>(desc.get_size());
    slot_ = std::max(slot_, used + RoundUp64(bytes));
    if (bytes > 0) call->arguments.push_back({DNNL_ARG_SCRATCHPAD, desc, {Source::Kind::kSlot, 0, used}});
  }

  // An activation that the convolution reads, of `shape`: itself, or a copy in the memory of the thread.
  Argument Operand(int id, const memory::desc& wanted, const Shape& shape, Source source, Piece* piece, int64_t* used) {
    if (type_ == kF32) return {id, wanted, source};
    const Source copy{Source::Kind::kSlot, 0, *used};
    *used += RoundUp64(static_cast<int64_t>(wanted.get_size()));
    piece->copies.push_back(Reorder(Activations(shape, kF32), source, wanted, copy, *used));
    return {id, wanted, copy};
  }

  Call Reorder(const memory::desc& from, Source source, const memory::desc& to, Source target, int64_t used = 0) {
    const dnnl::reorder::primitive_desc pd(CpuEngine(), from, CpuEngine(), to, UserScratchpad());
    Call call{dnnl::reorder(pd), {{DNNL_ARG_FROM, from, source}, {DNNL_ARG_TO, to, target}}};
    AddScratchpad(&call, pd.scratchpad_desc(), used);
    return call;
  }

  // The weights in the layout that the primitive wants: every range wants the same one, or gets a copy of its own.
  Argument WeightArgument(const memory::desc& wanted) {
    if (wanted == w_) return {DNNL_ARG_WEIGHTS, w_, {Source::Kind::kIn, 1}};
    for (const Argument& a : packed_) {
      if (a.desc == wanted) return a;
    }
    if (constant_ != nullptr) {
      held_.push_back(Reordered(constant_->raw(), w_, wanted));
      packed_.push_back({DNNL_ARG_WEIGHTS, wanted, {Source::Kind::kHeld, static_cast<int64_t>(held_.size()) - 1}});
      return packed_.back();
    }
    packed_.push_back({DNNL_ARG_WEIGHTS, wanted, Scratch(static_cast<int64_t>(wanted.get_size()))});
    before_.push_back(Reorder(w_, {Source::Kind::kIn, 1}, wanted, packed_.back().source));
    return packed_.back();
  }

  // Ranges of the batch; a single large sample is cut into rows. Partial weight gradients have to be added: fewer
  // ranges.
  std::vector<Range> Ranges(int64_t work) const {
    constexpr int64_t kLeast = 1 << 20, kLeastRows = 4;
    std::vector<Range> out;
    if (op_ == Op::kConv && x_[0] == 1) {
      const int64_t chunks = CountChunks(work, kLeast, y_[1] / kLeastRows), size = (y_[1] + chunks - 1) / chunks;
      for (int64_t i = 0; i < y_[1]; i += size) out.push_back({0, 1, i, std::min(size, y_[1] - i)});
      for (const Range& r : out) {
        if (out.size() > 1 && CellsOf(r).count <= 0) return {{0, 1}};
      }
      return out.size() > 1 ? out : std::vector<Range>{{0, 1}};
    }
    const int64_t chunks = CountChunks(work, op_ == Op::kConvGradWeight ? 1 << 23 : kLeast, x_[0]);
    const int64_t size = (x_[0] + chunks - 1) / chunks;
    for (int64_t i = 0; i < x_[0]; i += size) out.push_back({i, std::min(size, x_[0] - i)});
    return out;
  }

  // The rows of the input that some rows of the result see, and how much padding is beyond them.
  struct Cells {
    int64_t first, count, pad_lo, pad_hi;
  };
  Cells CellsOf(const Range& r) const {
    const int64_t reach = at_.dilation[0] * (WindowRows() - 1) + 1;
    const int64_t from = r.row * at_.stride[0] - at_.pad_lo[0], to = from + (r.rows - 1) * at_.stride[0] + reach;
    const int64_t first = std::max<int64_t>(from, 0), last = std::min(to, x_[1]);
    return {first, last - first, first - from, to - last};
  }
  int64_t WindowRows() const { return w_.dims()[at_.groups > 1 ? 3 : 2]; }

  // A range of the batch of an activation, or some rows of its only sample.
  static Shape RangeOf(Shape shape, int64_t count, int64_t rows) {
    shape[0] = count;
    if (rows >= 0) shape[1] = rows;
    return shape;
  }
  static Source At(Source::Kind kind, int64_t index, const Shape& shape, int64_t first, int64_t row) {
    const int64_t sample = NumElements(shape) / shape[0];
    return {kind, index, (first * sample + row * (sample / shape[1])) * static_cast<int64_t>(sizeof(float))};
  }

  dnnl::convolution_forward::primitive_desc Forward(const memory::desc& x, const memory::desc* bias,
                                                    const memory::desc& y, prop_kind kind, const memory::dims& lo,
                                                    const memory::dims& hi) const {
    const auto alg = dnnl::algorithm::convolution_direct;
    const auto desc =
        bias != nullptr
            ? dnnl::convolution_forward::desc(kind, alg, x, AnyLayout(w_, type_), *bias, y, stride_, dilation_, lo, hi)
            : dnnl::convolution_forward::desc(kind, alg, x, AnyLayout(w_, type_), y, stride_, dilation_, lo, hi);
    return {desc, UserScratchpad(), CpuEngine()};
  }

  void AddRange(const Range& r) {
    if (op_ == Op::kConv) return AddForward(r);
    const Shape x = RangeOf(x_, r.count, -1), y = RangeOf(y_, r.count, -1);
    op_ == Op::kConvGradInput ? AddGradInput(x, y, r.first) : AddGradWeight(x, y, r.first);
  }

  void AddForward(const Range& r) {
    memory::dims lo = pad_lo_, hi = pad_hi_;
    Cells cells{0, -1, 0, 0};
    if (r.rows >= 0) {
      cells = CellsOf(r);
      lo[0] = cells.pad_lo;
      hi[0] = cells.pad_hi;
    }
    const Shape range = RangeOf(x_, r.count, cells.count);
    const memory::desc x = Activations(range, type_), y = Activations(RangeOf(y_, r.count, r.rows), kF32);
    const memory::desc bias({y_.back()}, kF32, memory::format_tag::a);
    const auto pd = Forward(x, at_.bias ? &bias : nullptr, y, prop_kind::forward_inference, lo, hi);
    name_ = absl::StrCat("onednn_conv:", pd.impl_info_str());
    Piece piece;
    int64_t used = 0;
    const Source source = At(Source::Kind::kIn, 0, x_, r.first, cells.first);
    piece.convolution = {dnnl::convolution_forward(pd),
                         {Operand(DNNL_ARG_SRC, x, range, source, &piece, &used),
                          WeightArgument(pd.weights_desc()),
                          {DNNL_ARG_DST, y, At(Source::Kind::kOut, 0, y_, r.first, r.row)}}};
    if (at_.bias) piece.convolution.arguments.push_back({DNNL_ARG_BIAS, bias, {Source::Kind::kIn, 2}});
    AddScratchpad(&piece.convolution, pd.scratchpad_desc(), used);
    ranges_.push_back(std::move(piece));
  }

  void AddGradInput(const Shape& x, const Shape& y, int64_t first) {
    const memory::desc dx = Activations(x, kF32), dy = Activations(y, type_);
    const auto hint = Forward(Activations(x, type_), nullptr, dy, prop_kind::forward_training, pad_lo_, pad_hi_);
    const dnnl::convolution_backward_data::desc desc(dnnl::algorithm::convolution_direct, dx, AnyLayout(w_, type_), dy,
                                                     stride_, dilation_, pad_lo_, pad_hi_);
    const dnnl::convolution_backward_data::primitive_desc pd(desc, UserScratchpad(), CpuEngine(), hint);
    name_ = absl::StrCat("onednn_conv_grad_input:", pd.impl_info_str());
    Piece piece;
    int64_t used = 0;
    piece.convolution = {dnnl::convolution_backward_data(pd),
                         {Operand(DNNL_ARG_DIFF_DST, dy, y, At(Source::Kind::kIn, 0, y_, first, 0), &piece, &used),
                          WeightArgument(pd.weights_desc()),
                          {DNNL_ARG_DIFF_SRC, dx, At(Source::Kind::kOut, 0, x_, first, 0)}}};
    AddScratchpad(&piece.convolution, pd.scratchpad_desc(), used);
    ranges_.push_back(std::move(piece));
  }

  // The ranges of a weight gradient all write the layout of the first one, side by side in scratch memory.
  void AddGradWeight(const Shape& x_range, const Shape& y_range, int64_t first) {
    const memory::desc x = Activations(x_range, type_), dy = Activations(y_range, type_);
    const auto hint = Forward(x, nullptr, dy, prop_kind::forward_training, pad_lo_, pad_hi_);
    const memory::desc wanted = ranges_.empty() ? AnyLayout(w_, kF32) : made_;
    const dnnl::convolution_backward_weights::desc desc(dnnl::algorithm::convolution_direct, x, wanted, dy, stride_,
                                                        dilation_, pad_lo_, pad_hi_);
    const dnnl::convolution_backward_weights::primitive_desc pd(desc, UserScratchpad(), CpuEngine(), hint);
    name_ = absl::StrCat("onednn_conv_grad_weight:", pd.impl_info_str());
    made_ = pd.diff_weights_desc();
    partial_bytes_ = RoundUp64(static_cast<int64_t>(made_.get_size()));
    const Source target = Scratch(partial_bytes_);
    if (ranges_.empty()) partial_ = target.offset;
    Piece piece;
    int64_t used = 0;
    const Argument source = Operand(DNNL_ARG_SRC, x, x_range, At(Source::Kind::kIn, 0, x_, first, 0), &piece, &used);
    const Argument cotangent =
        Operand(DNNL_ARG_DIFF_DST, dy, y_range, At(Source::Kind::kIn, 1, y_, first, 0), &piece, &used);
    piece.convolution = {dnnl::convolution_backward_weights(pd),
                         {source, cotangent, {DNNL_ARG_DIFF_WEIGHTS, made_, target}}};
    AddScratchpad(&piece.convolution, pd.scratchpad_desc(), used);
    ranges_.push_back(std::move(piece));
  }

  void FinishGradWeight() {
    const Source out{Source::Kind::kOut};
    if (ranges_.size() == 1 && made_ == w_) {
      for (Argument& a : ranges_[0].convolution.arguments) {
        if (a.id == DNNL_ARG_DIFF_WEIGHTS) a.source = out;
      }
      return;
    }
    after_.push_back(Reorder(made_, {Source::Kind::kScratch, 0, partial_}, w_, out));
  }

  Op op_;
  ConvAttrs at_;
  int threads_;
  const VectorOps& v_;
  memory::data_type type_;    // of the operands; f32 in memory
  const Tensor* constant_;    // the weights, if they never change
  std::vector<Tensor> held_;  // and their copies in other layouts
  std::string name_;
  memory::dims stride_, dilation_, pad_lo_, pad_hi_;
  Shape x_, y_;
  memory::desc w_, made_;  // the weights as stored; a weight gradient as made
  std::vector<Argument> packed_;
  std::vector<Call> before_, after_;
  std::vector<Piece> ranges_;
  int64_t scratch_ = 0, slot_ = 0;  // bytes; the second of each thread
  int64_t partial_ = 0, partial_bytes_ = 0;
};

bool AnyNegative(const std::vector<int64_t>& v) {
  return std::any_of(v.begin(), v.end(), [](int64_t p) { return p < 0; });
}

}  // namespace

std::unique_ptr<Kernel> MakeConvKernel(const KernelRequest& r, std::string* why) {
  const auto& at = r.node.as<ConvAttrs>();
  const bool empty =
      NumElements(r.in(0).shape) == 0 || NumElements(r.in(1).shape) == 0 || NumElements(r.out(0).shape) == 0;
  if (r.out(0).dtype != DType::kF32 || at.stride.size() > 3 || empty || AnyNegative(at.pad_lo) ||
      AnyNegative(at.pad_hi)) {
    *why = "onednn_conv: no f32, more than three spatial axes, negative padding or nothing to do";
    return nullptr;
  }
  try {
    return std::make_unique<ConvKernel>(r);
  } catch (const dnnl::error& e) {
    *why = absl::StrCat("onednn_conv: ", e.what());
    return nullptr;
  }
}

}  // namespace strata
