#include "engine/convert/builder.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/convert/fields.h"
#include "engine/nn/build.h"
#include "engine/nn/schema.h"

namespace strata::convert {

absl::StatusOr<Tried> TryLayer(v1::Dialect dialect, const v1::Layer& layer, const std::vector<Port>& args,
                               const std::map<std::string, Port>& named) {
  Graph graph;
  nn::Collected collected;
  nn::Scope scope(&graph, dialect, /*training=*/false, /*random_state=*/{}, &collected);
  nn::Args given;
  for (size_t i = 0; i < args.size(); ++i) {
    given.positional.push_back(graph.AddInput(absl::StrCat(i), args[i].dtype, args[i].shape));
  }
  for (const auto& [name, port] : named) given.named[name] = graph.AddInput(name, port.dtype, port.shape);
  const nn::Outputs outputs = nn::BuildLayer(scope, layer, given);
  STRATA_RETURN_IF_ERROR(graph.status());
  Tried tried;
  for (const nn::Annotated& o : outputs) tried.outputs.push_back({o.value.shape(), o.value.dtype()});
  tried.params = std::move(collected.params);
  return tried;
}

void Builder::Reserve(Names where, const std::string& key, const std::string& name) {
  if (where != Names::kCall) layer_names_.try_emplace(name, key);
  if (where != Names::kLayer) call_names_.try_emplace(name, key);
}

std::string Builder::NameFor(Names where, const std::string& key, const std::string& name) {
  const auto added = names_.try_emplace(key, name);
  const auto it = added.first;  // lambdas capture it
  if (!added.second) return it->second;
  const auto free = [&](const std::map<std::string, std::string>& names) {
    const auto owner = names.find(it->second);
    return owner == names.end() || owner->second == key;
  };
  const auto fits = [&] {
    return (where == Names::kCall || free(layer_names_)) && (where == Names::kLayer || free(call_names_));
  };
  for (int i = 1; !fits(); ++i) it->second = absl::StrCat(name, "_", i);
  Reserve(where, key, it->second);
  return it->second;
}

v1::Edge Builder::AddInput(v1::Input input, Port port) {
  v1::Edge edge;
  edge.set_call(input.name());
  ports_[{input.name(), 0}] = std::move(port);
  *model_.add_inputs() = std::move(input);
  return edge;
}

const v1::Layer* Builder::Find(const std::string& layer) const {
  const auto it = layers_.find(layer);
  return it == layers_.end() ? nullptr : &model_.layers(it->second);
}

absl::StatusOr<v1::Edge> Builder::Add(v1::Layer layer, v1::Call call, const std::vector<Port>* results) {
  v1::Layer complete = layer;
  std::vector<Port> ports;
  if (results != nullptr) {
    ports = *results;
  } else {
    STRATA_RETURN_IF_ERROR(nn::Fill(model_.dialect(), "", &complete));
    std::vector<Port> args;
    std::map<std::string, Port> named;
    for (const v1::Edge& edge : call.args()) args.push_back(PortOf(edge));
    for (const auto& [name, edge] : call.named_args()) named[name] = PortOf(edge);
    STRATA_ASSIGN_OR_RETURN(Tried tried, TryLayer(model_.dialect(), complete, args, named));
    ports = std::move(tried.outputs);
    ClearDefaults(model_.dialect(), &layer);
  }
  if (const v1::Layer* known = Find(layer.name()); known == nullptr) {
    layers_[layer.name()] = model_.layers_size();
    *model_.add_layers() = std::move(layer);
  } else if (known->SerializeAsString() != layer.SerializeAsString()) {
    return InvalidArgument("its calls need different forms of it");
  }
  v1::Edge edge;
  edge.set_call(call.name());
  for (size_t i = 0; i < ports.size(); ++i) ports_[{call.name(), static_cast<int>(i)}] = ports[i];
  *model_.add_calls() = std::move(call);
  return edge;
}

v1::Edge Builder::AddUnknown(Port port) {
  v1::Edge edge;
  edge.set_call(absl::StrCat("?", ++unknowns_));
  ports_[{edge.call(), 0}] = std::move(port);
  return edge;
}

}  // namespace strata::convert
