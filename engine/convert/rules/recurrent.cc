// LSTM, GRU, SimpleRNN. PyTorch stacks layers and directions in one component, Keras has one layer for each and a
// wrapper for two directions; PyTorch's batch_first = false is Keras' time_major.
#include "engine/convert/rules/recurrent.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace strata::convert {
namespace {

using google::protobuf::Message;

const Cell kCells[] = {
    {"lstm", "lstm_cell", 2, {0, 1, 2, 3}, false},
    {"gru", "gru_cell", 1, {1, 0, 2}, true},  // r, z, n and z, r, h
    {"simple_rnn", "simple_rnn_cell", 1, {0}, false},
};

// Blocks of `order.size()` equal parts along an axis, in another order.
Tensor Reordered(const Tensor& t, int axis, const std::vector<int>& order) {
  const int64_t width = t.shape()[axis] / static_cast<int64_t>(order.size());
  std::vector<int64_t> indices;
  for (int block : order) {
    for (int64_t i = 0; i < width; ++i) indices.push_back(block * width + i);
  }
  return Taken(t, axis, indices);
}

void MoveToPytorch(Site& s, const Made& made, const Cell& cell, const std::string& prefix, const std::string& suffix,
                   bool use_bias) {
  const auto matrix = [order = cell.order](const std::vector<const Tensor*>& t) {
    return Reordered(Transposed(*t[0], {1, 0}), 0, order);
  };
  s.Move(made, "weight_ih" + suffix, {prefix + "kernel"}, matrix);
  s.Move(made, "weight_hh" + suffix, {prefix + "recurrent_kernel"}, matrix);
  if (!use_bias) return;
  // Without a second bias the whole is PyTorch's first.
  const auto row = [order = cell.order, two = cell.two_biases](int64_t index) {
    return [order, two, index](const std::vector<const Tensor*>& t) {
      if (!two && index == 1) return Tensor(t[0]->dtype(), t[0]->shape());
      const Tensor bias = two ? Reshaped(Taken(*t[0], 0, {index}), {t[0]->shape()[1]}) : t[0]->Clone();
      return Reordered(bias, 0, order);
    };
  };
  s.Move(made, "bias_ih" + suffix, {prefix + "bias"}, row(0));
  s.Move(made, "bias_hh" + suffix, {prefix + "bias"}, row(1));
}

void MoveToKeras(Site& s, const Made& made, const Cell& cell, const std::string& prefix, const std::string& suffix,
                 bool use_bias) {
  const auto matrix = [order = cell.order](const std::vector<const Tensor*>& t) {
    return Transposed(Reordered(*t[0], 0, order), {1, 0});
  };
  s.Move(made, prefix + "kernel", {"weight_ih" + suffix}, matrix);
  s.Move(made, prefix + "recurrent_kernel", {"weight_hh" + suffix}, matrix);
  if (!use_bias) return;
  s.Move(made, prefix + "bias", {"bias_ih" + suffix, "bias_hh" + suffix},
         [order = cell.order, two = cell.two_biases](const std::vector<const Tensor*>& t) {
           if (!two) return Reordered(Sum(*t[0], *t[1]), 0, order);
           const Tensor input = Reordered(*t[0], 0, order), state = Reordered(*t[1], 0, order);
           return Stacked({&input, &state});
         });
}

void KerasToPytorch(Site& s) {
  const Cell& cell = *FindCell(s.kind());
  const Message& a = AttrsOf(s.layer());
  CheckRecurrence(s, a, "");
  for (const char* flag : {"go_backwards", "stateful"}) {
    if (FlagOf(a, flag)) s.Refuse(flag, "PyTorch's layers have none, got true");
  }
  if (!s.named().empty()) s.Refuse("mask", "PyTorch's layers take no mask");
  s.Draft(s.kind(), {"dropout", "recurrent_dropout", "reset_after", "return_sequences", "return_state", "go_backwards",
                     "stateful", "time_major"});
  const bool time_major = FlagOf(a, "time_major"), bias = FlagOf(a, "use_bias");
  std::vector<v1::Edge> args = {DroppedInput(s, RealOf(a, "dropout"), time_major)};
  for (const v1::Edge& state : StackedStates(s, cell.states, 1)) args.push_back(state);
  const Made made = s.Main(PytorchRnn(s, cell, a, time_major, false), args);
  MoveCell(s, made, cell, "", "_l0", bias);
  PutKerasOutputs(s, cell, made, {FlagOf(a, "return_sequences"), FlagOf(a, "return_state"), time_major},
                  NumberOf(a, "units"));
}

// One of PyTorch's stacked layers, in Keras' words.
v1::Layer KerasRnn(Site& s, const Cell& cell, const Message& a, bool states) {
  v1::Layer layer = MakeLayer(cell.layer);
  Message* m = MutableAttrs(&layer);
  SetNumber(m, "units", NumberOf(a, "units"));
  SetFlag(m, "use_bias", FlagOf(a, "use_bias"));
  SetFlag(m, "return_sequences", true);
  SetFlag(m, "time_major", !FlagOf(a, "batch_first"));
  if (states) SetFlag(m, "return_state", true);
  if (s.layer().has_simple_rnn() && s.layer().simple_rnn().nonlinearity() == "relu") {
    layer.mutable_simple_rnn()->mutable_activation()->mutable_relu();
  }
  if (!FlagOf(a, "bidirectional")) return layer;
  v1::Layer both;
  *both.mutable_bidirectional()->mutable_layer() = std::move(layer);
  return both;
}

void PytorchToKeras(Site& s) {
  const Cell& cell = *FindCell(s.kind());
  const Message& a = AttrsOf(s.layer());
  if (s.layer().has_lstm() && s.layer().lstm().proj_size() > 0) {
    s.Refuse("proj_size", absl::StrCat("Keras projects no states, got ", s.layer().lstm().proj_size()));
  }
  if (s.rank(0) == 2) s.Refuse("", "Keras takes no sequence without a batch axis");
  s.Draft(s.kind(), {"num_layers", "batch_first", "dropout", "bidirectional", "proj_size", "nonlinearity"});
  if (s.failed()) return;
  const int64_t layers = NumberOf(a, "num_layers");
  const int directions = FlagOf(a, "bidirectional") ? 2 : 1;
  bool states = false;
  for (int k = 1; k <= cell.states; ++k) states |= s.Used(k);
  for (int k = 1; k < s.num_args(); ++k) {
    if (s.arg(k).parts.empty()) {
      return s.Refuse("h0", "Keras takes a state for each layer and direction: only another layer's states will do");
    }
  }
  v1::Edge x = s.Plain(0);
  std::vector<std::vector<v1::Edge>> finals(cell.states);
  for (int64_t l = 0; l < layers; ++l) {
    v1::Layer layer = KerasRnn(s, cell, a, states);
    if (s.layer().has_trainable()) layer.set_trainable(s.layer().trainable());
    std::vector<v1::Edge> args = {x};
    for (int d = 0; d < directions; ++d) {
      for (int k = 1; k < s.num_args(); ++k) args.push_back(s.arg(k).parts[l * directions + d]);
    }
    const Made made = layers == 1 ? s.Main(layer, args) : s.Part(absl::StrCat("_l", l), layer, args);
    for (int d = 0; d < directions; ++d) {
      const std::string prefix = directions == 1 ? "" : d == 0 ? "forward_" : "backward_";
      MoveCell(s, made, cell, prefix, absl::StrCat("_l", l, d == 1 ? "_reverse" : ""), FlagOf(a, "use_bias"));
      for (int k = 0; k < cell.states && states; ++k) {
        finals[k].push_back(OutputOf(made.edge, 1 + d * cell.states + k));
      }
    }
    x = made.edge;
    if (RealOf(a, "dropout") > 0 && l + 1 < layers) {
      v1::Layer dropout = MakeLayer("dropout");
      dropout.mutable_dropout()->set_rate(RealOf(a, "dropout"));
      x = s.Helper("_dropout", dropout, {x});
    }
  }
  s.Put(x, Layout::Plain(s.rank(0)));
  for (int k = 0; k < cell.states; ++k) {
    Operand out;
    out.parts = finals[k];
    s.Put(std::move(out));
  }
}

// One step. PyTorch puts out the new states, Keras the output before them.
void CellRule(Site& s) {
  const Cell& cell = *FindCell(s.kind());
  const Message& a = AttrsOf(s.layer());
  if (s.to_pytorch()) CheckRecurrence(s, a, "");
  if (s.to_pytorch() && RealOf(a, "dropout") > 0) {
    s.Refuse("dropout", absl::StrCat("PyTorch's cells have none, got ", RealOf(a, "dropout")));
  }
  v1::Layer layer = s.Draft(s.kind(), {"dropout", "recurrent_dropout", "reset_after", "nonlinearity"});
  if (s.layer().has_simple_rnn_cell()) {
    const v1::SimpleRnnCell& old = s.layer().simple_rnn_cell();
    if (s.to_pytorch() && old.activation().has_relu()) layer.mutable_simple_rnn_cell()->set_nonlinearity("relu");
    if (!s.to_pytorch() && old.nonlinearity() == "relu") {
      layer.mutable_simple_rnn_cell()->mutable_activation()->mutable_relu();
    }
  }
  std::vector<v1::Edge> args;
  for (int i = 0; i < s.num_args(); ++i) args.push_back(s.Plain(i));
  const Made made = s.Main(layer, args);
  MoveCell(s, made, cell, "", "", FlagOf(a, "use_bias"));
  const Layout plain = Layout::Plain(s.rank(0));
  if (s.to_pytorch()) s.Put(made.edge, plain);
  for (int k = 0; k < cell.states; ++k) s.Put(OutputOf(made.edge, s.to_pytorch() ? k : k + 1), plain);
}

}  // namespace

const Cell* FindCell(const std::string& kind) {
  for (const Cell& cell : kCells) {
    if (kind == cell.layer || kind == cell.cell) return &cell;
  }
  return nullptr;
}

void MoveCell(Site& s, const Made& made, const Cell& cell, const std::string& keras_prefix,
              const std::string& pytorch_suffix, bool use_bias) {
  s.to_pytorch() ? MoveToPytorch(s, made, cell, keras_prefix, pytorch_suffix, use_bias)
                 : MoveToKeras(s, made, cell, keras_prefix, pytorch_suffix, use_bias);
}

bool FlagOf(const Message& m, const char* name) {
  const auto* field = m.GetDescriptor()->FindFieldByName(name);
  return field != nullptr && m.GetReflection()->GetBool(m, field);
}
int64_t NumberOf(const Message& m, const char* name) {
  return m.GetReflection()->GetInt64(m, m.GetDescriptor()->FindFieldByName(name));
}
double RealOf(const Message& m, const char* name) {
  return m.GetReflection()->GetDouble(m, m.GetDescriptor()->FindFieldByName(name));
}
void SetFlag(Message* m, const char* name, bool value) {
  m->GetReflection()->SetBool(m, m->GetDescriptor()->FindFieldByName(name), value);
}
void SetNumber(Message* m, const char* name, int64_t value) {
  m->GetReflection()->SetInt64(m, m->GetDescriptor()->FindFieldByName(name), value);
}

std::vector<Record> RecurrentRecords() {
  std::vector<Record> records;
  for (const Cell& cell : kCells) {
    records.push_back({.kind = cell.layer, .from = v1::KERAS, .rule = &KerasToPytorch});
    records.push_back({.kind = cell.layer, .from = v1::PYTORCH, .rule = &PytorchToKeras});
    records.push_back({.kind = cell.cell, .from = v1::DIALECT_UNSPECIFIED, .rule = &CellRule});
  }
  return records;
}

}  // namespace strata::convert
