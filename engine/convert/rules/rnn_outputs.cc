// What PyTorch's recurrent layers need around them to take and put out what Keras' do.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/convert/rules/recurrent.h"
#include "engine/nn/schema.h"

namespace strata::convert {
namespace {

using google::protobuf::Message;

v1::Edge SelectFrom(Site& s, const std::string& suffix, const v1::Edge& edge, int64_t axis, int64_t index) {
  v1::Layer layer = MakeLayer("select");
  layer.mutable_select()->set_axis(axis);
  layer.mutable_select()->set_index(index);
  return s.Helper(suffix, layer, {edge});
}

// Both directions' results as Keras merges them.
v1::Edge Merged(Site& s, const std::string& mode, const v1::Edge& forward, const v1::Edge& backward) {
  const char* kind = mode == "sum" ? "add" : mode == "mul" ? "multiply" : mode == "ave" ? "average" : "concatenate";
  return s.Helper("_merge", MakeLayer(kind), {forward, backward});
}

const v1::Activation& ActivationIn(const Message& m, const char* name) {
  return static_cast<const v1::Activation&>(m.GetReflection()->GetMessage(m, m.GetDescriptor()->FindFieldByName(name)));
}

}  // namespace

void CheckRecurrence(Site& s, const Message& a, const std::string& within) {
  const auto* d = a.GetDescriptor();
  const v1::Activation& activation = ActivationIn(a, "activation");
  const bool plain = d == v1::SimpleRnn::descriptor() || d == v1::SimpleRnnCell::descriptor();
  const auto refuse = [&](const char* field, const std::string& why) { s.Refuse(within + field, why); };
  if (!activation.has_tanh() && !(plain && activation.has_relu())) {
    refuse("activation",
           absl::StrCat("PyTorch's is tanh", plain ? " or relu" : "", ", got ", nn::KindOf(activation)->name()));
  }
  if (activation.has_relu() && (activation.relu().has_max_value() || activation.relu().negative_slope() != 0 ||
                                activation.relu().threshold() != 0)) {
    refuse("activation", "PyTorch's is the plain relu");
  }
  if (!plain && !ActivationIn(a, "recurrent_activation").has_sigmoid()) {
    refuse("recurrent_activation",
           absl::StrCat("PyTorch's is sigmoid, got ", nn::KindOf(ActivationIn(a, "recurrent_activation"))->name()));
  }
  if (RealOf(a, "recurrent_dropout") > 0) {
    refuse("recurrent_dropout", absl::StrCat("PyTorch has none, got ", RealOf(a, "recurrent_dropout")));
  }
  if (d->FindFieldByName("reset_after") != nullptr && !FlagOf(a, "reset_after")) {
    refuse("reset_after", "PyTorch applies the reset gate after the product, got false");
  }
}

v1::Layer PytorchRnn(Site& s, const Cell& cell, const Message& a, bool time_major, bool bidirectional) {
  v1::Layer layer = MakeLayer(cell.layer);
  if (s.layer().has_trainable()) layer.set_trainable(s.layer().trainable());
  Message* m = MutableAttrs(&layer);
  SetNumber(m, "units", NumberOf(a, "units"));
  SetFlag(m, "use_bias", FlagOf(a, "use_bias"));
  SetFlag(m, "batch_first", !time_major);
  SetFlag(m, "bidirectional", bidirectional);
  if (layer.has_simple_rnn() && ActivationIn(a, "activation").has_relu()) {
    layer.mutable_simple_rnn()->set_nonlinearity("relu");
  }
  return layer;
}

v1::Edge DroppedInput(Site& s, double rate, bool time_major) {
  if (rate == 0) return s.Plain(0);
  if (time_major) s.Refuse("dropout", "PyTorch has no mask that all steps share where time comes first");
  // Whole features over all steps: channels of a sequence with its channels first.
  v1::Layer dropout = MakeLayer("spatial_dropout1d");
  dropout.mutable_spatial_dropout1d()->set_rate(rate);
  Operand x = s.arg(0);
  x.edge = s.Helper("_dropout", dropout, {s.In(0, LastToFirst(3))});
  x.layout = {LastToFirst(3), {}, {}};
  return s.Bring(&x, Layout::Plain(3).axes);
}

std::vector<v1::Edge> StackedStates(Site& s, int states, int directions) {
  std::vector<v1::Edge> stacks;
  if (s.num_args() == 1) return stacks;
  for (int k = 0; k < states; ++k) {
    for (int d = 0; d < directions; ++d) {
      const Operand& x = s.arg(1 + d * states + k);
      // The final states of one layer are one stack, whole and in order.
      const bool whole =
          x.index == d &&
          (d == 0 || (x.stack.call() == stacks.back().call() && x.stack.output() == stacks.back().output()));
      if (!whole || s.PortOf(x.stack).shape[0] != directions) {
        s.Refuse("initial_state", "PyTorch takes states as one stack: only another recurrent layer's states will do");
        return {};
      }
      if (d == 0) stacks.push_back(x.stack);
    }
  }
  return stacks;
}

void PutKerasOutputs(Site& s, const Cell& cell, const Made& made, const KerasFlags& flags, int64_t units) {
  const int directions = flags.bidirectional ? 2 : 1;
  v1::Edge forward, backward;
  Layout layout = Layout::Plain(flags.return_sequences ? 3 : 2);
  const bool apart = flags.bidirectional && (flags.merge_mode != "concat" || !flags.return_sequences);
  if (!apart) {
    forward = flags.return_sequences ? made.edge : SelectFrom(s, "_last", made.edge, flags.time_major ? 0 : 1, -1);
  } else if (flags.return_sequences) {
    v1::Layer split = MakeLayer("reshape");
    for (int64_t size : {int64_t{-1}, int64_t{2}, units}) split.mutable_reshape()->add_target_shape(size);
    const v1::Edge both = s.Helper("_split", split, {made.edge});
    forward = SelectFrom(s, "_forward", both, 2, 0);
    backward = SelectFrom(s, "_backward", both, 2, 1);
  } else {
    forward = SelectFrom(s, "_forward", OutputOf(made.edge, 1), 0, 0);
    backward = SelectFrom(s, "_backward", OutputOf(made.edge, 1), 0, 1);
  }
  if (apart && flags.merge_mode == "none") {
    s.Put(forward, layout);
    s.Put(backward, layout);
  } else {
    s.Put(apart ? Merged(s, flags.merge_mode, forward, backward) : forward, layout);
  }
  for (int d = 0; d < directions && flags.return_state; ++d) {
    for (int k = 0; k < cell.states; ++k) {
      Operand state;
      state.stack = OutputOf(made.edge, 1 + k);
      state.index = d;
      state.layout = Layout::Plain(2);
      s.Put(std::move(state));
    }
  }
}

}  // namespace strata::convert
