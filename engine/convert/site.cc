#include "engine/convert/site.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "engine/base/status.h"
#include "engine/nn/complete.h"
#include "engine/nn/schema.h"

namespace strata::convert {
// PyTorch's automatic names are positions: they say nothing on the other side.
bool IsPosition(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); });
}

std::string Legal(const std::string& name) { return absl::StrReplaceAll(name, {{".", "_"}, {"/", "_"}}); }

std::string LayerKey(const std::string& name) { return "layer " + name; }
std::string CallKey(const std::string& name) { return "call " + name; }

const char* DialectWord(v1::Dialect dialect) { return dialect == v1::PYTORCH ? "PyTorch" : "Keras"; }

v1::Edge OutputOf(v1::Edge edge, int output) {
  edge.set_output(output);
  return edge;
}

std::string Site::kind() const { return nn::KindOf(*c_.layer)->name(); }

bool Site::shared() const {
  int calls = 0;
  for (const v1::Call& call : c_.old_model->calls()) calls += call.layer() == c_.layer->name();
  return calls > 1;
}

bool Site::Used(int output) const {
  const auto is = [&](const v1::Edge& edge) { return edge.call() == c_.call->name() && edge.output() == output; };
  for (const v1::Call& call : c_.old_model->calls()) {
    if (std::any_of(call.args().begin(), call.args().end(), is)) return true;
    for (const auto& [name, edge] : call.named_args()) {
      if (is(edge)) return true;
    }
  }
  const auto& outputs = c_.old_model->outputs();
  return std::any_of(outputs.begin(), outputs.end(), [&](const v1::Output& o) { return is(o.edge()); });
}

bool Site::channels_first() const {
  if (from() == v1::PYTORCH) return true;
  const google::protobuf::Message& m = AttrsOf(*c_.layer);
  const auto* field = m.GetDescriptor()->FindFieldByName("data_format");
  return field != nullptr && m.GetReflection()->GetEnumValue(m, field) == v1::CHANNELS_FIRST;
}

std::vector<int> Site::SpatialAxes(int rank) const {
  if (!to_pytorch()) return FirstToLast(rank);
  return channels_first() ? Layout::Plain(rank).axes : LastToFirst(rank);
}

v1::Edge Site::Plain(int i) { return In(i, Layout::Plain(shape(i).size()).axes); }

v1::Edge Site::In(int i, const std::vector<int>& axes) { return Bring(c_.args[i], axes); }

v1::Edge Site::Bring(Operand* x, const std::vector<int>& axes) {
  const auto rank = static_cast<int>(x->shape.size());
  if (x->edge.call().empty() && x->index >= 0) {  // one of the states that PyTorch stacks
    v1::Layer select = MakeLayer("select");
    select.mutable_select()->set_axis(0);
    select.mutable_select()->set_index(x->index);
    x->edge = Helper(absl::StrCat("_state", x->index), select, {x->stack});
  }
  if (x->edge.call().empty()) {
    Refuse("", "its states are taken as one stack, and Keras keeps one for each layer and direction");
    x->edge = c_.builder->AddUnknown({x->shape, x->dtype});
    x->layout = Layout::Plain(x->shape.size());
  }
  if (x->layout.flat.empty() && x->layout.axes == axes) return x->edge;
  const auto permute = [&](const std::vector<int>& order, const v1::Edge& edge) {
    v1::Layer layer = MakeLayer("permute");
    for (size_t k = 1; k < order.size(); ++k) layer.mutable_permute()->add_dims(order[k]);
    return Helper("_permute", layer, {edge});
  };
  v1::Edge edge = x->edge;
  if (!x->layout.flat.empty()) {
    v1::Layer reshape = MakeLayer("reshape");
    for (int64_t size : x->layout.flat) reshape.mutable_reshape()->add_target_shape(size);
    edge = Helper("_unflatten", reshape, {edge});
    std::vector<int> order(x->layout.flat.size() + 1, 0);
    for (size_t k = 0; k < x->layout.flat.size(); ++k) order[x->layout.places[k] + 1] = static_cast<int>(k) + 1;
    edge = Helper("_flatten", MakeLayer("flatten"), {permute(order, edge)});
  }
  std::vector<int> order;
  for (int k = 0; k < rank; ++k) order.push_back(x->layout.PlaceOf(axes[k]));
  if (!std::is_sorted(order.begin(), order.end())) edge = permute(order, edge);
  return edge;
}

v1::Layer Site::Draft(const std::string& kind, const std::vector<std::string>& handled) {
  v1::Layer layer;
  for (const LeftOut& left : CopyFields(*c_.layer, from(), to(), kind, handled, &layer)) {
    if (left.training_only) {
      Warn(left.field, absl::StrCat("has no counterpart in ", DialectWord(to()), ", left out: ", left.value));
    } else {
      Refuse(left.field, absl::StrCat("has no counterpart in ", DialectWord(to()), ", got ", left.value));
    }
  }
  return layer;
}

std::string Site::NameOf(const v1::Layer& layer) {
  const std::string& old = c_.layer->name();
  const std::string wanted = IsPosition(old) && !to_pytorch() ? nn::AutomaticName(to(), layer) : Legal(old);
  return c_.builder->NameFor(Builder::Names::kLayer, LayerKey(old), wanted);
}

Made Site::AddLayer(const std::string& name, const std::string& call_name, v1::Layer layer,
                    const std::vector<v1::Edge>& args, const std::map<std::string, v1::Edge>& named,
                    const std::vector<Port>* results) {
  layer.set_name(name);
  v1::Call call;
  call.set_name(call_name);
  call.set_layer(name);
  if (c_.call->has_training()) call.set_training(c_.call->training());
  for (const v1::Edge& edge : args) *call.add_args() = edge;
  for (const auto& [key, edge] : named) (*call.mutable_named_args())[key] = edge;
  absl::StatusOr<v1::Edge> edge = c_.builder->Add(std::move(layer), std::move(call), results);
  if (edge.ok()) return {*edge, name};
  Refuse("", absl::StrCat(DialectWord(to()), " does not take it: ", std::string(edge.status().message())));
  const Port port = c_.tried.outputs.empty() ? Port{{1, 1}, DType::kF32} : c_.tried.outputs[0];
  return {c_.builder->AddUnknown(port), name};
}

std::string Site::CallName(const std::string& layer) {
  const std::string& old = c_.call->name();
  // A call that is named as its layer keeps to that.
  return c_.builder->NameFor(Builder::Names::kCall, CallKey(old), old == c_.layer->name() ? layer : Legal(old));
}

Made Site::Main(v1::Layer layer, const std::vector<v1::Edge>& args, const std::map<std::string, v1::Edge>& named) {
  const std::string name = NameOf(layer);
  return AddLayer(name, CallName(name), std::move(layer), args, named, nullptr);
}

Made Site::Part(const std::string& suffix, v1::Layer layer, const std::vector<v1::Edge>& args) {
  const bool automatic = IsPosition(c_.layer->name()) && !to_pytorch();
  const std::string key = absl::StrCat(c_.layer->name(), "/", suffix);
  const std::string name =
      c_.builder->NameFor(Builder::Names::kLayer, LayerKey(key),
                          automatic ? nn::AutomaticName(to(), layer) : Legal(c_.layer->name()) + suffix);
  const std::string call = c_.builder->NameFor(Builder::Names::kCall, CallKey(c_.call->name() + "/" + suffix), name);
  return AddLayer(name, call, std::move(layer), args, {}, nullptr);
}

v1::Edge Site::Helper(const std::string& suffix, v1::Layer layer, const std::vector<v1::Edge>& args) {
  const bool automatic = IsPosition(c_.call->name()) && !to_pytorch();
  const std::string base = automatic ? nn::AutomaticName(to(), layer) : Legal(c_.call->name()) + suffix;
  // Each helper is a layer of its own, however often the suffix comes.
  const std::string key = absl::StrCat("helper ", c_.builder->model().calls_size(), " ", base);
  const std::string name = c_.builder->NameFor(Builder::Names::kBoth, key, base);
  return AddLayer(name, name, std::move(layer), args, {}, nullptr).edge;
}

Made Site::Nested(v1::Model model, const std::vector<v1::Edge>& args, const std::vector<Port>& results) {
  v1::Layer layer;
  if (c_.layer->has_trainable()) layer.set_trainable(c_.layer->trainable());
  *layer.mutable_model() = std::move(model);
  const std::string name = NameOf(layer);
  return AddLayer(name, CallName(name), std::move(layer), args, {}, &results);
}

std::string Site::path() const {
  return absl::StrCat(c_.place->path, c_.place->path.empty() ? "" : ".", "layers[", c_.layer_index, "].", kind());
}

std::string Site::old_prefix() const {
  return absl::StrCat(c_.place->old_prefix, c_.layer->name(), std::string(1, nn::PathSeparator(from())));
}

std::string Site::new_prefix(const std::string& new_layer) const {
  return absl::StrCat(c_.place->new_prefix, new_layer, std::string(1, nn::PathSeparator(to())));
}

void Site::Move(const Made& made, std::string_view target, const std::vector<std::string>& sources, Recipe recipe) {
  WeightMove move;
  move.target = absl::StrCat(new_prefix(made.layer), std::string(target));
  if (!c_.ledger->targets.insert(move.target).second) return;  // another call of the same layer
  for (const std::string& source : sources) move.sources.push_back(old_prefix() + source);
  move.recipe = std::move(recipe);
  c_.ledger->moves.push_back(std::move(move));
}

void Site::Put(const v1::Edge& edge, Layout layout, bool non_negative) {
  Operand out;
  out.edge = edge;
  out.layout = std::move(layout);
  out.non_negative = non_negative;
  outputs_.push_back(std::move(out));
}

void Site::Refuse(std::string_view field, std::string_view why) {
  failed_ = true;
  std::string text = absl::StrCat(path(), field.empty() ? "" : ".", std::string(field), ": ", std::string(why));
  if (c_.ledger->said.insert(text).second) c_.ledger->failures.push_back(std::move(text));
}

void Site::Warn(std::string_view field, std::string_view why) {
  std::string text = absl::StrCat(path(), field.empty() ? "" : ".", std::string(field), ": ", std::string(why));
  if (c_.ledger->said.insert(text).second) c_.ledger->warnings.push_back(std::move(text));
}

Site Site::CalledAs(const v1::Layer& layer) const {
  Context c = c_;
  c.layer = &layer;
  return Site(std::move(c));
}

void Site::Take(Site* other) {
  outputs_ = std::move(other->outputs_);
  failed_ |= other->failed_;
}

std::vector<Operand> Site::Finish() {
  const std::vector<Port>& old = results();
  if (failed_) outputs_.clear();
  STRATA_CHECK(failed_ || outputs_.size() <= old.size());
  outputs_.resize(old.size());
  for (size_t i = 0; i < old.size(); ++i) {
    Operand& out = outputs_[i];
    out.shape = old[i].shape;
    out.dtype = old[i].dtype;
    if (out.edge.call().empty() && out.index < 0 && out.parts.empty()) {
      // Nothing takes it, or its component failed.
      out.edge = c_.builder->AddUnknown(old[i]);
      out.layout = Layout::Plain(old[i].shape.size());
    }
    if (out.edge.call().empty()) continue;
    // A wrong rule is our bug: shapes must agree.
    const Shape& made = PortOf(out.edge).shape;
    bool same = made.size() == out.shape.size() && out.layout.axes.size() == made.size();
    for (size_t k = 0; same && k < made.size(); ++k) same = made[k] == out.shape[out.layout.axes[k]];
    if (!same && !failed_) {
      Refuse("",
             absl::StrCat("its counterpart has another shape, ", ShapeString(made), " for ", ShapeString(out.shape)));
    }
  }
  return std::move(outputs_);
}

}  // namespace strata::convert
