// Keras' wrappers: Bidirectional, RNN over cells, TimeDistributed.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/convert/rules/recurrent.h"
#include "engine/nn/schema.h"

namespace strata::convert {
namespace {

using google::protobuf::Message;

// What the fields of an inner layer say of training only.
void WarnOf(Site& s, const v1::Layer& inner, const std::string& within) {
  v1::Layer ignored;
  const std::vector<std::string> handled = {"dropout",      "recurrent_dropout", "reset_after", "return_sequences",
                                            "return_state", "go_backwards",      "stateful",    "time_major"};
  for (const LeftOut& left : CopyFields(inner, s.from(), s.to(), nn::KindOf(inner)->name(), handled, &ignored)) {
    if (left.training_only) {
      s.Warn(within + left.field, absl::StrCat("has no counterpart in PyTorch, left out: ", left.value));
    } else {
      s.Refuse(within + left.field, absl::StrCat("has no counterpart in PyTorch, got ", left.value));
    }
  }
}

// Whether two directions differ in nothing but the direction.
bool Mirrored(const v1::Layer& forward, const v1::Layer& backward) {
  v1::Layer a = forward, b = backward;
  a.clear_name();
  b.clear_name();
  if (nn::KindOf(a) != nn::KindOf(b)) return false;
  SetFlag(MutableAttrs(&b), "go_backwards", FlagOf(AttrsOf(a), "go_backwards"));
  for (const char* flag : {"kernel", "recurrent", "bias"}) {
    for (v1::Layer* layer : {&a, &b}) {
      Message* m = MutableAttrs(layer);
      const auto* field = m->GetDescriptor()->FindFieldByName(absl::StrCat(flag, "_initializer"));
      if (field != nullptr) m->GetReflection()->ClearField(m, field);
    }
  }
  return a.SerializeAsString() == b.SerializeAsString();
}

void Bidirectional(Site& s) {
  const auto& a = s.As<v1::Bidirectional>();
  const Cell* cell = FindCell(nn::KindOf(a.layer())->name());
  if (cell == nullptr || nn::KindOf(a.layer())->name() != cell->layer) {
    return s.Refuse("layer", absl::StrCat("PyTorch runs LSTM, GRU and RNN in both directions, got ",
                                          nn::KindOf(a.layer())->name()));
  }
  const Message& inner = AttrsOf(a.layer());
  if (FlagOf(inner, "go_backwards")) s.Refuse("layer.go_backwards", "PyTorch's first direction is forward, got true");
  if (a.has_backward_layer() && !Mirrored(a.layer(), a.backward_layer())) {
    s.Refuse("backward_layer", "PyTorch's second direction is like the first, got another layer");
  }
  if (FlagOf(inner, "stateful")) s.Refuse("layer.stateful", "PyTorch's layers have none, got true");
  if (!s.named().empty()) s.Refuse("mask", "PyTorch's layers take no mask");
  CheckRecurrence(s, inner, "layer.");
  WarnOf(s, a.layer(), "layer.");
  const bool time_major = FlagOf(inner, "time_major"), bias = FlagOf(inner, "use_bias");
  if (RealOf(inner, "dropout") > 0) {
    s.Refuse("layer.dropout", "PyTorch has no masks of inputs for each direction, got more than 0");
  }
  std::vector<v1::Edge> args = {s.Plain(0)};
  for (const v1::Edge& state : StackedStates(s, cell->states, 2)) args.push_back(state);
  const Made made = s.Main(PytorchRnn(s, *cell, inner, time_major, true), args);
  MoveCell(s, made, *cell, "forward_", "_l0", bias);
  MoveCell(s, made, *cell, "backward_", "_l0_reverse", bias);
  PutKerasOutputs(s, *cell, made,
                  {FlagOf(inner, "return_sequences"), FlagOf(inner, "return_state"), time_major, true, a.merge_mode()},
                  NumberOf(inner, "units"));
}

// A stack of cells: one of PyTorch's layers after the other.
void Rnn(Site& s) {
  const auto& a = s.As<v1::Rnn>();
  if (a.go_backwards()) s.Refuse("go_backwards", "PyTorch's layers have none, got true");
  if (a.stateful()) s.Refuse("stateful", "PyTorch's layers have none, got true");
  if (s.num_args() > 1) s.Refuse("initial_state", "PyTorch takes states as one stack");
  if (!s.named().empty()) s.Refuse("mask", "PyTorch's layers take no mask");
  for (int i = 0; i < a.cells_size(); ++i) {
    const std::string at = absl::StrCat("cells[", i, "].");
    const Cell* cell = FindCell(nn::KindOf(a.cells(i))->name());
    if (cell == nullptr) {
      s.Refuse(absl::StrCat("cells[", i, "]"),
               absl::StrCat("PyTorch runs LSTM, GRU and RNN cells over time, got ", nn::KindOf(a.cells(i))->name()));
      continue;
    }
    CheckRecurrence(s, AttrsOf(a.cells(i)), at);
    WarnOf(s, a.cells(i), at);
    if (RealOf(AttrsOf(a.cells(i)), "dropout") > 0)
      s.Refuse(at + "dropout", "PyTorch's layers have none, got more than 0");
  }
  if (s.failed()) return;
  v1::Edge x = s.Plain(0);
  std::vector<Operand> states;
  for (int i = 0; i < a.cells_size(); ++i) {
    const Cell& cell = *FindCell(nn::KindOf(a.cells(i))->name());
    const Message& attrs = AttrsOf(a.cells(i));
    const v1::Layer layer = PytorchRnn(s, cell, attrs, a.time_major(), false);
    const bool single = a.cells_size() == 1;
    const Made made = single ? s.Main(layer, {x}) : s.Part(absl::StrCat("_l", i), layer, {x});
    const bool stacked = !single || a.stacked();
    MoveCell(s, made, cell, stacked ? absl::StrCat("cells.", i, ".") : "", "_l0", FlagOf(attrs, "use_bias"));
    for (int k = 0; k < cell.states; ++k) {
      Operand state;
      state.stack = OutputOf(made.edge, 1 + k);
      state.index = 0;
      state.layout = Layout::Plain(2);
      states.push_back(std::move(state));
    }
    x = made.edge;
  }
  if (!a.return_sequences()) {
    v1::Layer last = MakeLayer("select");
    last.mutable_select()->set_axis(a.time_major() ? 0 : 1);
    last.mutable_select()->set_index(-1);
    x = s.Helper("_last", last, {x});
  }
  s.Put(x, Layout::Plain(a.return_sequences() ? 3 : 2));
  for (Operand& state : states) {
    if (a.return_state()) s.Put(std::move(state));
  }
}

// Layers that do the same to every step without being told.
bool WorksOnLastAxis(const v1::Layer& layer) {
  if (layer.has_layer_norm()) return layer.layer_norm().axis_size() == 1 && layer.layer_norm().axis(0) == -1;
  if (layer.has_linear()) return true;
  if (layer.has_softmax()) return layer.softmax().axes_size() == 0 && layer.softmax().axis() == -1;
  if (layer.has_activation()) {
    const v1::Activation& a = layer.activation().activation();
    if (a.has_softmax()) return a.softmax().axes_size() == 0 && a.softmax().axis() == -1;
    return !a.has_log_softmax() || a.log_softmax().axis() == -1;
  }
  if (layer.has_prelu() || layer.has_log_softmax()) return false;
  const Record* record = FindRecord(v1::KERAS, nn::KindOf(layer)->name());
  return record != nullptr && record->axes == Axes::kEach;
}

void TimeDistributed(Site& s) {
  const v1::Layer& inner = s.As<v1::TimeDistributed>().layer();
  if (nn::KindOf(inner) == nullptr || !WorksOnLastAxis(inner)) {
    return s.Refuse("layer", absl::StrCat("PyTorch has no wrapper that applies a layer to every step, got ",
                                          inner.has_model() ? "a model" : nn::KindOf(inner)->name()));
  }
  v1::Layer named = inner;
  named.set_name(s.layer().name());
  if (s.layer().has_trainable()) named.set_trainable(s.layer().trainable());
  Site site = s.CalledAs(named);
  Apply(*FindRecord(v1::KERAS, site.kind()), site);
  s.Take(&site);
}

}  // namespace

std::vector<Record> WrapperRecords() {
  return {
      {.kind = "bidirectional", .from = v1::KERAS, .rule = &Bidirectional},
      {.kind = "rnn", .from = v1::KERAS, .rule = &Rnn},
      {.kind = "time_distributed", .from = v1::KERAS, .rule = &TimeDistributed},
  };
}

}  // namespace strata::convert
