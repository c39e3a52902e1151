// The new model while it is made: layers and calls are added in order, each one checked by building it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/nn/scope.h"
#include "strata/v1/model.pb.h"

namespace strata::convert {

struct Port {
  Shape shape;
  DType dtype = DType::kF32;
};

// Results and parameters of one call of `layer` (complete) in evaluation mode. An error is the component's own.
struct Tried {
  std::vector<Port> outputs;
  std::vector<nn::ParamSpec> params;
};
absl::StatusOr<Tried> TryLayer(v1::Dialect dialect, const v1::Layer& layer, const std::vector<Port>& args,
                               const std::map<std::string, Port>& named);

class Builder {
 public:
  explicit Builder(v1::Dialect dialect) { model_.set_dialect(dialect); }

  // Which names must differ: layers' among themselves, calls' and inputs' among themselves.
  enum class Names { kLayer, kCall, kBoth };
  // `name` is kept for `key`.
  void Reserve(Names where, const std::string& key, const std::string& name);
  // A free name that begins with `name`; the same `key` again gives the same name.
  std::string NameFor(Names where, const std::string& key, const std::string& name);

  v1::Edge AddInput(v1::Input input, Port port);
  // Adds a call of `layer`, and the layer itself if its name is new. INVALID_ARGUMENT if another definition has that
  // name, or if the layer does not take the arguments. `results` are known for models.
  absl::StatusOr<v1::Edge> Add(v1::Layer layer, v1::Call call, const std::vector<Port>* results = nullptr);
  // A value that no call makes: what stands for the results of a component without counterpart.
  v1::Edge AddUnknown(Port port);

  const Port& PortOf(const v1::Edge& edge) const { return ports_.at({edge.call(), edge.output()}); }
  v1::Model& model() { return model_; }
  // Of a layer by name; null if there is none.
  const v1::Layer* Find(const std::string& layer) const;

 private:
  v1::Model model_;
  std::map<std::string, std::string> layer_names_, call_names_;  // to the key that has the name
  std::map<std::string, std::string> names_;                     // by key
  std::map<std::string, int> layers_;                            // index by name
  std::map<std::pair<std::string, int>, Port> ports_;
  int unknowns_ = 0;
};

}  // namespace strata::convert
