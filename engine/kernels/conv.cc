// Convolutions and their gradients by oneDNN. Activations stay channels last; weights, which are small, are brought to
// the layout that the primitive wants and back.
#include <algorithm>

#include "engine/kernels/onednn.h"

namespace strata {
namespace {

using dnnl::memory;
using dnnl::prop_kind;

constexpr auto kF32 = memory::data_type::f32;

// Dims in oneDNN's order (batch, channels, spatial) with the strides of channels-last memory.
memory::desc Activations(const Shape& shape) {
  const Shape s = Strides(shape);
  memory::dims dims{shape.front(), shape.back()}, strides{s.front(), s.back()};
  dims.insert(dims.end(), shape.begin() + 1, shape.end() - 1);
  strides.insert(strides.end(), s.begin() + 1, s.end() - 1);
  return memory::desc(dims, kF32, strides);
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

memory::desc AnyLayout(const memory::desc& d) { return memory::desc(d.dims(), kF32, memory::format_tag::any); }

// Where a call's argument lives: an operand or result of the node, or scratch memory.
struct Source {
  enum class Kind : uint8_t { kIn, kOut, kScratch } kind;
  int64_t index;
};

class ConvKernel : public Kernel {
 public:
  explicit ConvKernel(const KernelRequest& r) : op_(r.node.op) {
    const ThreadsScope threads(r.threads);
    const auto& at = r.node.as<ConvAttrs>();
    for (size_t d = 0; d < at.stride.size(); ++d) {
      stride_.push_back(at.stride[d]);
      dilation_.push_back(at.dilation[d] - 1);
      pad_lo_.push_back(at.pad_lo[d]);
      pad_hi_.push_back(at.pad_hi[d]);
    }
    if (op_ == Op::kConv) {
      MakeForward(r, at);
    } else if (op_ == Op::kConvGradInput) {
      MakeGradInput(r, at);
    } else {
      MakeGradWeight(r, at);
    }
  }

  const char* name() const override { return name_.c_str(); }
  int64_t scratch_bytes() const override { return scratch_; }

  struct State : KernelState {
    std::vector<DnnlArguments> calls;
  };
  std::unique_ptr<KernelState> MakeState() const override {
    auto state = std::make_unique<State>();
    for (const Call& call : calls_) {
      state->calls.emplace_back(call.primitive);
      for (const Argument& a : call.arguments) state->calls.back().Add(a.id, a.desc);
    }
    return state;
  }

  void Run(const KernelArgs& args) const override {
    auto& state = *static_cast<State*>(args.state);
    for (size_t c = 0; c < calls_.size(); ++c) {
      for (size_t a = 0; a < calls_[c].arguments.size(); ++a) {
        const Source s = calls_[c].arguments[a].source;
        state.calls[c].Point(a, s.kind == Source::Kind::kIn    ? args.in[s.index]
                                : s.kind == Source::Kind::kOut ? args.out[s.index]
                                                               : static_cast<const char*>(args.scratch) + s.index);
      }
      state.calls[c].Execute();
    }
  }

 private:
  struct Argument {
    int id;
    memory::desc desc;
    Source source;
  };
  struct Call {
    dnnl::primitive primitive;
    std::vector<Argument> arguments;
  };

  Source Scratch(int64_t bytes) {
    const Source s{Source::Kind::kScratch, scratch_};
    scratch_ += RoundUp64(bytes);
    return s;
  }

  void AddReorder(const memory::desc& from, Source source, const memory::desc& to, Source target) {
    const dnnl::reorder::primitive_desc pd(CpuEngine(), from, CpuEngine(), to, UserScratchpad());
    Call call{dnnl::reorder(pd), {{DNNL_ARG_FROM, from, source}, {DNNL_ARG_TO, to, target}}};
    AddScratchpad(&call, pd.scratchpad_desc());
    calls_.push_back(std::move(call));
  }

  void AddScratchpad(Call* call, const memory::desc& desc) {
    if (desc.get_size() > 0)
      call->arguments.push_back({DNNL_ARG_SCRATCHPAD, desc, Scratch(static_cast<int64_t>(desc.get_size()))});
  }

  // An operand in the layout that the primitive wants.
  Argument Input(int id, int64_t index, const memory::desc& user, const memory::desc& wanted) {
    const Source source{Source::Kind::kIn, index};
    if (user == wanted) return {id, user, source};
    const Source copy = Scratch(static_cast<int64_t>(wanted.get_size()));
    AddReorder(user, source, wanted, copy);
    return {id, wanted, copy};
  }

  // Adds the convolution itself; its result is reordered if it does not have the layout `user`.
  void AddConv(dnnl::primitive primitive, std::vector<Argument> arguments, int result, const memory::desc& user,
               const memory::desc& made, const memory::desc& scratchpad) {
    const Source out{Source::Kind::kOut, 0};
    const Source target = user == made ? out : Scratch(static_cast<int64_t>(made.get_size()));
    arguments.push_back({result, made, target});
    Call call{std::move(primitive), std::move(arguments)};
    AddScratchpad(&call, scratchpad);
    calls_.push_back(std::move(call));
    if (!(user == made)) AddReorder(made, target, user, out);
  }

  dnnl::convolution_forward::primitive_desc Forward(const memory::desc& x, const memory::desc& w,
                                                    const memory::desc* bias, const memory::desc& y, prop_kind kind,
                                                    bool relu) const {
    dnnl::primitive_attr attr = UserScratchpad();
    if (relu) {
      dnnl::post_ops post;
      post.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
      attr.set_post_ops(post);
    }
    const auto alg = dnnl::algorithm::convolution_direct;
    const auto desc = bias != nullptr ? dnnl::convolution_forward::desc(kind, alg, x, AnyLayout(w), *bias, y, stride_,
                                                                        dilation_, pad_lo_, pad_hi_)
                                      : dnnl::convolution_forward::desc(kind, alg, x, AnyLayout(w), y, stride_,
                                                                        dilation_, pad_lo_, pad_hi_);
    return {desc, attr, CpuEngine()};
  }

  void MakeForward(const KernelRequest& r, const ConvAttrs& at) {
    const memory::desc x = Activations(r.in(0).shape), w = Weights(at, r.in(1).shape), y = Activations(r.out(0).shape);
    const memory::desc bias({r.out(0).shape.back()}, kF32, memory::format_tag::a);
    const auto pd = Forward(x, w, at.bias ? &bias : nullptr, y, prop_kind::forward_inference, at.relu);
    name_ = absl::StrCat("onednn_conv:", pd.impl_info_str());
    std::vector<Argument> arguments{Input(DNNL_ARG_SRC, 0, x, pd.src_desc()),
                                    Input(DNNL_ARG_WEIGHTS, 1, w, pd.weights_desc())};
    if (at.bias) arguments.push_back({DNNL_ARG_BIAS, bias, {Source::Kind::kIn, 2}});
    AddConv(dnnl::convolution_forward(pd), std::move(arguments), DNNL_ARG_DST, y, pd.dst_desc(), pd.scratchpad_desc());
  }

  void MakeGradInput(const KernelRequest& r, const ConvAttrs& at) {
    const memory::desc dy = Activations(r.in(0).shape), w = Weights(at, r.in(1).shape),
                       dx = Activations(r.out(0).shape);
    const auto hint = Forward(dx, w, nullptr, dy, prop_kind::forward_training, false);
    const dnnl::convolution_backward_data::desc desc(dnnl::algorithm::convolution_direct, dx, AnyLayout(w), dy, stride_,
                                                     dilation_, pad_lo_, pad_hi_);
    const dnnl::convolution_backward_data::primitive_desc pd(desc, UserScratchpad(), CpuEngine(), hint);
    name_ = absl::StrCat("onednn_conv_grad_input:", pd.impl_info_str());
    std::vector<Argument> arguments{Input(DNNL_ARG_DIFF_DST, 0, dy, pd.diff_dst_desc()),
                                    Input(DNNL_ARG_WEIGHTS, 1, w, pd.weights_desc())};
    AddConv(dnnl::convolution_backward_data(pd), std::move(arguments), DNNL_ARG_DIFF_SRC, dx, pd.diff_src_desc(),
            pd.scratchpad_desc());
  }

  void MakeGradWeight(const KernelRequest& r, const ConvAttrs& at) {
    const memory::desc x = Activations(r.in(0).shape), dy = Activations(r.in(1).shape),
                       dw = Weights(at, r.out(0).shape);
    const auto hint = Forward(x, dw, nullptr, dy, prop_kind::forward_training, false);
    const dnnl::convolution_backward_weights::desc desc(dnnl::algorithm::convolution_direct, x, AnyLayout(dw), dy,
                                                        stride_, dilation_, pad_lo_, pad_hi_);
    const dnnl::convolution_backward_weights::primitive_desc pd(desc, UserScratchpad(), CpuEngine(), hint);
    name_ = absl::StrCat("onednn_conv_grad_weight:", pd.impl_info_str());
    std::vector<Argument> arguments{Input(DNNL_ARG_SRC, 0, x, pd.src_desc()),
                                    Input(DNNL_ARG_DIFF_DST, 1, dy, pd.diff_dst_desc())};
    AddConv(dnnl::convolution_backward_weights(pd), std::move(arguments), DNNL_ARG_DIFF_WEIGHTS, dw,
            pd.diff_weights_desc(), pd.scratchpad_desc());
  }

  Op op_;
  std::string name_;
  memory::dims stride_, dilation_, pad_lo_, pad_hi_;
  std::vector<Call> calls_;
  int64_t scratch_ = 0;
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
