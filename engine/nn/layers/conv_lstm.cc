// LSTM whose products are convolutions. The input's convolutions run for all steps at once; the state's stand in the
// loop.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/keras_rnn.h"
#include "engine/nn/layers/lstm.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::ConvLstm& a, const Args& args) {
  Value x = args[0];
  if (x.rank() != kAxes + 3)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 3, " axes, got ", ShapeString(x.shape())))};
  const bool channels_first = a.data_format() == v1::CHANNELS_FIRST;
  const int64_t batch = x.dim(0), steps = x.dim(1), filters = a.filters();
  Shape merged(x.shape().begin() + 1, x.shape().end());
  merged[0] = batch * steps;
  x = Reshape(SwapBatchAndTime(x), merged);  // [T N, ...]
  if (channels_first) x = ToChannelsLast(x);
  const int64_t channels = x.dim(-1);
  const std::vector<int64_t> ones(kAxes, 1), kernel = PerAxis(s, "kernel_size", a.kernel_size(), kAxes, ones);
  ConvAttrs input, state;
  input.stride = PerAxis(s, "strides", a.stride(), kAxes, ones);
  input.dilation = PerAxis(s, "dilation_rate", a.dilation(), kAxes, ones);
  input.pad_lo = input.pad_hi = state.pad_lo = state.pad_hi = std::vector<int64_t>(kAxes, 0);
  state.stride = state.dilation = ones;
  if (NumElements(input.stride) != 1 && NumElements(input.dilation) != 1)
    s.Fail(absl::StrCat("strides|dilation_rate: at most one may differ from 1, got ", ShapeString(input.stride),
                        " and ", ShapeString(input.dilation)));
  if (a.padding().kind_case() == v1::Padding::kSize || a.padding().mode() == v1::Padding::CAUSAL)
    s.Fail(absl::StrCat("padding: must be VALID or SAME, got ", a.padding().has_size() ? "numbers" : "CAUSAL"));
  for (int i = 0; i < kAxes; ++i) {
    SamePadding(1, kernel[i], 1, &state.pad_lo[i], &state.pad_hi[i]);
    const int64_t reach = input.dilation[i] * (kernel[i] - 1) + 1;
    if (a.padding().mode() == v1::Padding::SAME)
      SamePadding(x.dim(i + 1), reach, input.stride[i], &input.pad_lo[i], &input.pad_hi[i]);
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  Shape w_shape(kernel.begin(), kernel.end()), u_shape = w_shape;
  w_shape.insert(w_shape.end(), {channels, 4 * filters});
  u_shape.insert(u_shape.end(), {filters, 4 * filters});
  const Value w = s.Param("kernel", w_shape,
                          {.initializer = a.kernel_initializer(),
                           .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                           .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
  const Value u = s.Param("recurrent_kernel", u_shape,
                          {.initializer = a.recurrent_initializer(),
                           .regularizer = a.has_recurrent_regularizer() ? &a.recurrent_regularizer() : nullptr,
                           .constraint = a.has_recurrent_constraint() ? &a.recurrent_constraint() : nullptr});
  if (s.training() && a.dropout() > 0) {
    Shape mask = x.shape();  // one mask for all steps
    Shape split = mask;
    split[0] = batch;
    split.insert(split.begin(), steps);
    Shape once = split;
    once[0] = 1;
    x = Reshape(DropWith(s, Reshape(x, split), a.dropout(), once, "dropout"), mask);
  }
  Value projected = Conv(x, w, input);
  if (a.use_bias()) {
    ParamOptions bias{.initializer = a.bias_initializer(),
                      .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                      .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr};
    if (a.unit_forget_bias()) {
      bias.adjust = [filters](Tensor* t) {
        for (int64_t i = filters; i < 2 * filters; ++i) t->Set(i, 1);
      };
    }
    projected = projected + s.Param("bias", {4 * filters}, std::move(bias));
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  Shape sequence = projected.shape(), state_shape = sequence;
  sequence[0] = batch;
  sequence.insert(sequence.begin(), steps);
  state_shape[0] = batch;
  state_shape.back() = filters;
  Args inner = args;
  for (size_t i = 1; i < inner.positional.size() && channels_first; ++i)
    inner.positional[i].value = ToChannelsLast(inner.positional[i]);
  Recurrence r;
  r.sequences = {Reshape(projected, sequence)};
  r.states = KerasStates(s, inner, a.stateful(), {state_shape, state_shape});
  r.constants = {u};
  if (s.training() && a.recurrent_dropout() > 0) {
    r.constants.push_back(
        DropWith(s, Full(s.graph(), 1, state_shape), a.recurrent_dropout(), state_shape, "recurrent_dropout"));
  }
  r.step = [&](Scope& body, const std::vector<Value>& x_t, const std::vector<Value>& states,
               const std::vector<Value>& constants) {
    const Value h = constants.size() > 1 ? states[0] * constants[1] : states[0];
    return KerasLstmStep(body, a.activation(), a.recurrent_activation(), x_t[0] + Conv(h, constants[0], state),
                         states[1]);
  };
  Outputs out = FinishKerasRnn(s, {a.return_sequences(), a.return_state(), a.go_backwards(), a.stateful(), false},
                               std::move(r), inner);
  if (!channels_first || !s.ok()) return out;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i == 0 && a.return_sequences()) {  // [N, T, spatial..., F] -> [N, T, F, spatial...]
      std::vector<int64_t> p{0, 1, out[0].value.rank() - 1};
      for (int d = 2; d + 1 < out[0].value.rank(); ++d) p.push_back(d);
      out[0].value = Transpose(out[0].value, p);
    } else {
      out[i].value = ToChannelsFirst(out[i].value);
    }
  }
  return out;
}

}  // namespace

Components ConvLstm() {
  const auto samples = [](Component c, Shape x) {
    return std::move(c)
        .Shapes(
            "x[N, T, spatial..., C] -> y[N, spatial'..., filters] or y[N, T, spatial'..., filters], h[N, spatial'..., "
            "filters], "
            "c[N, spatial'..., filters]")
        .Inputs(1, 3)
        .Mask(MaskRule::kConsume)
        .Named(v1::KERAS, {"mask"})
        .With({"filters: 2 kernel_size: 2", {x}, v1::KERAS})
        .With({"filters: 1 kernel_size: 2 padding { mode: SAME } return_sequences: true recurrent_activation { sigmoid "
               "{} }",
               {x},
               v1::KERAS})
        .With({"filters: 2 kernel_size: 1 data_format: CHANNELS_FIRST return_state: true go_backwards: true",
               {x},
               v1::KERAS});
  };
  return {samples(Layer<v1::ConvLstm>("conv_lstm1d", &Build<1>).Takes(kFloats), {2, 2, 3, 2}),
          samples(Layer<v1::ConvLstm>("conv_lstm2d", &Build<2>).Takes(kFloats), {1, 2, 3, 2, 2}),
          samples(Layer<v1::ConvLstm>("conv_lstm3d", &Build<3>).Takes(kFloats), {1, 2, 2, 3, 2, 2})};
}

}  // namespace strata::nn
