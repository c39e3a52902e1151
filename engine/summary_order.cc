// The order in which Keras lists the inputs and layers of a functional model: those furthest from the outputs first,
// and of equally far ones those that a walk back from the outputs meets first. Inputs that no output needs come before
// the other rows at the end.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/summary.h"

namespace strata {
namespace {

class Order {
 public:
  explicit Order(const v1::Model& model) : model_(model) {
    for (int i = 0; i < model.calls_size(); ++i) calls_[model.calls(i).name()] = i;
    for (int i = 0; i < model.layers_size(); ++i) layers_[model.layers(i).name()] = i;
    for (int i = 0; i < model.inputs_size(); ++i) inputs_[model.inputs(i).name()] = i;
  }

  std::vector<int> Run() {
    for (const v1::Output& output : model_.outputs()) Visit(output.edge().call());
    // Calls that no output needs stand where they are.
    for (const v1::Call& call : model_.calls()) Visit(call.name());
    const size_t num_met = met_.size();
    for (const v1::Input& input : model_.inputs()) Visit(input.name());
    std::rotate(met_.begin(), met_.begin() + static_cast<std::ptrdiff_t>(num_met), met_.end());
    // A node is further than those that read it, and a layer as far as its furthest call.
    for (auto it = finished_.rbegin(); it != finished_.rend(); ++it) {
      const int place = PlaceOf(*it);
      const int depth = std::max(node_depth_[*it], place_depth_[place]);
      node_depth_[*it] = place_depth_[place] = depth;
      for (const std::string& source : SourcesOf(*it)) {
        node_depth_[source] = std::max(node_depth_[source], depth + 1);
      }
    }
    std::vector<int> order = met_;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return place_depth_[a] > place_depth_[b]; });
    return order;
  }

 private:
  // An input's index, or that of a call's layer behind the inputs.
  int PlaceOf(const std::string& node) const {
    const auto input = inputs_.find(node);
    if (input != inputs_.end()) return input->second;
    return model_.inputs_size() + layers_.at(model_.calls(calls_.at(node)).layer());
  }
  std::vector<std::string> SourcesOf(const std::string& node) const {
    std::vector<std::string> sources;
    const auto call = calls_.find(node);
    if (call == calls_.end()) return sources;
    for (const v1::Edge& edge : strata::SourcesOf(model_.calls(call->second))) sources.push_back(edge.call());
    return sources;
  }
  // Without recursion: a chain of calls may be thousands long.
  void Visit(const std::string& start) {
    struct Frame {
      std::string node;
      std::vector<std::string> sources;
      size_t next = 0;
    };
    std::vector<Frame> stack;
    const auto enter = [&](const std::string& node) {
      if (!seen_.insert(node).second) return;
      const int place = PlaceOf(node);
      if (met_places_.insert(place).second) met_.push_back(place);
      stack.push_back({node, SourcesOf(node)});
    };
    enter(start);
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.next < top.sources.size()) {
        enter(std::string(top.sources[top.next++]));
        continue;
      }
      finished_.push_back(top.node);
      stack.pop_back();
    }
  }

  const v1::Model& model_;
  std::map<std::string, int> calls_, layers_, inputs_;
  std::set<std::string> seen_;
  std::set<int> met_places_;
  std::vector<int> met_;               // the same, as a walk from the outputs meets them
  std::vector<std::string> finished_;  // nodes behind their sources
  std::map<std::string, int> node_depth_;
  std::map<int, int> place_depth_;
};

}  // namespace

bool EachReadsTheLast(const v1::Model& model) {
  if (model.inputs_size() != 1) return false;
  std::string previous = model.inputs(0).name();
  std::set<std::string> layers;
  for (const v1::Call& call : model.calls()) {
    if (call.args_size() != 1 || !call.named_args().empty() || call.args(0).call() != previous) return false;
    if (!layers.insert(call.layer()).second) return false;
    previous = call.name();
  }
  return true;
}

std::vector<v1::Edge> SourcesOf(const v1::Call& call) {
  std::vector<v1::Edge> sources(call.args().begin(), call.args().end());
  const std::map<std::string, v1::Edge> sorted(call.named_args().begin(), call.named_args().end());
  for (const auto& [name, edge] : sorted) sources.push_back(edge);
  return sources;
}

std::vector<int> KerasOrder(const v1::Model& model) { return Order(model).Run(); }

}  // namespace strata
