#include "engine/convert/walk.h"

#include <optional>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/convert/rule.h"
#include "engine/nn/schema.h"

namespace strata::convert {
namespace {

using Layers = std::unordered_map<std::string, int>;

Layers LayersOf(const v1::Model& model) {
  Layers layers;
  for (int i = 0; i < model.layers_size(); ++i) layers[model.layers(i).name()] = i;
  return layers;
}

// Whether a layer of the old model with a channel axis has it first.
bool ChannelsFirst(v1::Dialect from, const v1::Layer& layer) {
  if (from == v1::PYTORCH) return true;
  const google::protobuf::Message& m = AttrsOf(layer);
  const auto* field = m.GetDescriptor()->FindFieldByName("data_format");
  return field != nullptr && m.GetReflection()->GetEnumValue(m, field) == v1::CHANNELS_FIRST;
}

struct Need {
  bool spatial = false, channels_first = false, ids = false;
};

// What the first layer that cares makes of the value `name`.
std::optional<Need> NeedOf(v1::Dialect from, const v1::Model& model, const Layers& layers, const std::string& name,
                           bool direct) {
  for (const v1::Call& call : model.calls()) {
    for (int i = 0; i < call.args_size(); ++i) {
      if (call.args(i).call() != name) continue;
      const v1::Layer& layer = model.layers(layers.at(call.layer()));
      std::optional<Need> need;
      if (layer.has_model()) {
        if (i < layer.model().inputs_size()) {
          need = NeedOf(from, layer.model(), LayersOf(layer.model()), layer.model().inputs(i).name(), direct);
        }
      } else if (layer.has_embedding() && direct) {
        need = Need{.ids = true};
      } else if (const Record* record = FindRecord(from, nn::KindOf(layer)->name()); record != nullptr) {
        if (record->axes == Axes::kSpatial) need = Need{true, ChannelsFirst(from, layer), false};
        if (record->axes == Axes::kEach || record->axes == Axes::kNormal) {
          need = NeedOf(from, model, layers, call.name(), false);
        }
      }
      if (need) return need;
    }
  }
  return std::nullopt;
}

// One model of the old tree.
class Walk {
 public:
  Walk(Ledger* ledger, const Place& place, const v1::Model& model)
      : ledger_(ledger), place_(place), model_(model), layers_(LayersOf(model)), builder_(ledger->to) {}

  Walked Run(const std::vector<Port>& inputs) {
    Walked walked;
    walked.inputs = InputNeeds(ledger_->from, model_, inputs);
    ReserveNames();
    for (int i = 0; i < model_.inputs_size(); ++i) AddInput(i, inputs[i], walked.inputs[i]);
    for (const v1::Call& call : model_.calls()) Convert(call);
    for (const v1::Output& output : model_.outputs()) AddOutput(output, &walked);
    v1::Model& made = builder_.model();
    made.set_name(model_.name());
    *made.mutable_assets() = model_.assets();
    *made.mutable_custom_components() = model_.custom_components();
    walked.model = std::move(made);
    return walked;
  }

 private:
  void ReserveNames() {
    for (const v1::Input& input : model_.inputs()) builder_.Reserve(Builder::Names::kCall, "", input.name());
    const bool keep_positions = ledger_->to == v1::PYTORCH;
    for (const v1::Layer& layer : model_.layers()) {
      if (!keep_positions && IsPosition(layer.name())) continue;
      builder_.Reserve(Builder::Names::kLayer, LayerKey(layer.name()), Legal(layer.name()));
    }
    for (const v1::Call& call : model_.calls()) {
      if (call.name() == call.layer() && !keep_positions && IsPosition(call.name())) continue;
      builder_.Reserve(Builder::Names::kCall, CallKey(call.name()), Legal(call.name()));
    }
  }

  void AddInput(int i, const Port& port, const InputNeed& need) {
    v1::Input input = model_.inputs(i);
    if (input.has_batched() && !input.batched()) {
      Fail(absl::StrCat("inputs[", i, "].batched: must be true, Keras has no calls without a batch axis, got false"));
    }
    if (input.shape_size() + 1 == static_cast<int>(need.axes.size())) {
      for (size_t k = 1; k < need.axes.size(); ++k) {
        input.set_shape(static_cast<int>(k) - 1, model_.inputs(i).shape(need.axes[k] - 1));
      }
    } else {
      input.clear_shape();  // a nested model's, which its calls give
    }
    Port made = port;
    if (need.axes.size() == port.shape.size()) {
      for (size_t k = 0; k < need.axes.size(); ++k) made.shape[k] = port.shape[need.axes[k]];
    }
    if (need.ids && ledger_->to == v1::PYTORCH && IsFloat(port.dtype)) {
      made.dtype = DType::kI64;
      input.set_dtype(v1::INT64);
    }
    if (input.dtype() == v1::FLOAT32) input.clear_dtype();
    Operand x;
    x.shape = port.shape;
    x.dtype = port.dtype;
    x.layout.axes = need.axes;
    x.edge = builder_.AddInput(std::move(input), std::move(made));
    values_[model_.inputs(i).name()] = {std::move(x)};
  }

  Operand* Find(const v1::Edge& edge) {
    auto it = values_.find(edge.call());
    if (it == values_.end() || edge.output() >= static_cast<int>(it->second.size())) return nullptr;
    return &it->second[edge.output()];
  }

  void Convert(const v1::Call& call) {
    const int index = layers_.at(call.layer());
    const v1::Layer& layer = model_.layers(index);
    Site::Context context{ledger_, &builder_, &place_, &model_, &layer, index, &call, {}, {}, {}};
    std::vector<Port> args;
    std::map<std::string, Port> named;
    for (const v1::Edge& edge : call.args()) {
      Operand* x = Find(edge);
      if (x == nullptr) return;  // of a component that failed already
      context.args.push_back(x);
      args.push_back({x->shape, x->dtype});
    }
    for (const auto& [name, edge] : call.named_args()) {
      Operand* x = Find(edge);
      if (x == nullptr) return;
      context.named[name] = x;
      named[name] = {x->shape, x->dtype};
    }
    absl::StatusOr<Tried> tried = TryLayer(ledger_->from, layer, args, named);
    if (!tried.ok()) {
      return Fail(
          absl::StrCat("layers[", index, "].", nn::KindName(layer), ": ", std::string(tried.status().message())));
    }
    context.tried = *std::move(tried);
    Site site(std::move(context));
    if (layer.has_activity_regularizer()) {
      Warn(absl::StrCat("layers[", index, "].activity_regularizer: has no counterpart in ", DialectWord(ledger_->to),
                        ", left out: ", layer.activity_regularizer().ShortDebugString()));
    }
    if (layer.has_model()) {
      ConvertModelCall(site, args);
    } else if (const Record* record = FindRecord(ledger_->from, site.kind()); record != nullptr) {
      Apply(*record, site);
    } else {
      site.Refuse("", absl::StrCat("has no counterpart in ", DialectWord(ledger_->to)));
    }
    values_[call.name()] = site.Finish();
  }

  void ConvertModelCall(Site& site, const std::vector<Port>& args) {
    const Place inner{absl::StrCat(place_.path, place_.path.empty() ? "" : ".", "layers[",
                                   layers_.at(site.call().layer()), "].model"),
                      site.old_prefix(), site.new_prefix(site.CounterpartName())};
    Walked walked = WalkModel(ledger_, inner, site.layer().model(), args);
    std::vector<v1::Edge> edges;
    for (int i = 0; i < site.num_args(); ++i) {
      edges.push_back(site.In(i, walked.inputs[i].axes));
      if (walked.inputs[i].ids && site.to_pytorch() && IsFloat(site.PortOf(edges.back()).dtype)) {
        site.Refuse("", "its table takes the results of a layer as row numbers, which PyTorch's does not");
      }
    }
    const Made made = site.Nested(std::move(walked.model), edges, walked.ports);
    for (size_t k = 0; k < walked.layouts.size(); ++k) {
      site.Put(OutputOf(made.edge, static_cast<int>(k)), walked.layouts[k]);
    }
  }

  void AddOutput(const v1::Output& old, Walked* walked) {
    Operand* x = Find(old.edge());
    v1::Output output;
    if (x == nullptr) return;
    // A layer that is only there to put the value in order.
    const v1::Layer none = MakeLayer("identity");
    v1::Call call;
    call.set_name(old.edge().call());
    Site site({ledger_, &builder_, &place_, &model_, &none, 0, &call, {x}, {}, {}});
    *output.mutable_edge() = x->layout.flat.empty() ? site.Bring(x, x->layout.axes) : site.Plain(0);
    const Layout layout = x->layout.flat.empty() ? x->layout : Layout::Plain(x->shape.size());
    // A position is no name.
    if (!(IsPosition(old.name()) && old.name() == old.edge().call())) output.set_name(old.name());
    walked->layouts.push_back(layout);
    walked->ports.push_back(builder_.PortOf(output.edge()));
    *builder_.model().add_outputs() = std::move(output);
  }

  void Fail(const std::string& what) { Say(what, &ledger_->failures); }
  void Warn(const std::string& what) { Say(what, &ledger_->warnings); }
  void Say(const std::string& what, std::vector<std::string>* list) {
    std::string text = absl::StrCat(place_.path, place_.path.empty() ? "" : ".", what);
    if (ledger_->said.insert(text).second) list->push_back(std::move(text));
  }

  Ledger* ledger_;
  const Place& place_;
  const v1::Model& model_;
  const Layers layers_;
  Builder builder_;
  std::unordered_map<std::string, std::vector<Operand>> values_;
};

}  // namespace

std::vector<InputNeed> InputNeeds(v1::Dialect from, const v1::Model& model, const std::vector<Port>& ports) {
  const Layers layers = LayersOf(model);
  std::vector<InputNeed> needs;
  for (int i = 0; i < model.inputs_size(); ++i) {
    const int rank = static_cast<int>(ports[i].shape.size());
    const Need need = NeedOf(from, model, layers, model.inputs(i).name(), true).value_or(Need{});
    InputNeed out;
    out.ids = need.ids;
    out.axes = Layout::Plain(rank).axes;
    // Four axes and more are an image, whatever takes it.
    const bool image = rank >= 4 || (rank == 3 && need.spatial);
    if (image && from == v1::PYTORCH) out.axes = FirstToLast(rank);
    if (image && from == v1::KERAS && !need.channels_first) out.axes = LastToFirst(rank);
    needs.push_back(std::move(out));
  }
  return needs;
}

Walked WalkModel(Ledger* ledger, const Place& place, const v1::Model& model, const std::vector<Port>& inputs) {
  return Walk(ledger, place, model).Run(inputs);
}

}  // namespace strata::convert
