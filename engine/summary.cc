#include "engine/summary.h"

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/chain.h"
#include "engine/inspect.h"
#include "engine/nn/build.h"
#include "engine/nn/complete.h"
#include "engine/nn/schema.h"
#include "engine/train/forward.h"

namespace strata {
namespace {

// Shapes of every call's arguments, then of its outputs, for one batch size and one size of free axes.
absl::StatusOr<std::vector<std::vector<Shape>>> Walk(const v1::Model& model, int64_t batch, int64_t free) {
  Graph graph;
  nn::Collected collected;
  nn::Scope scope(&graph, model.dialect(), false, {}, &collected);
  std::vector<nn::Annotated> inputs;
  for (const v1::Input& input : model.inputs()) {
    Shape shape;
    if (!input.has_batched() || input.batched()) shape.push_back(input.has_batch_size() ? input.batch_size() : batch);
    for (int64_t d : input.shape()) shape.push_back(d == -1 ? free : d);
    inputs.push_back(graph.AddInput(input.name(), ElementType(input.dtype()), std::move(shape)));
  }
  std::vector<std::vector<Shape>> shapes;
  nn::BuildModel(scope, model, inputs, [&](const v1::Call&, const nn::Args& args, const nn::Outputs& outputs) {
    shapes.emplace_back();
    for (const nn::Annotated& a : args.positional) shapes.back().push_back(a.value.shape());
    for (const nn::Annotated& o : outputs) shapes.back().push_back(o.value.shape());
  });
  STRATA_RETURN_IF_ERROR(graph.status());
  return shapes;
}

absl::StatusOr<SummaryTable> MakeTable(const v1::Model& given) {
  SummaryTable table;
  STRATA_ASSIGN_OR_RETURN(table.model, Complete(given));
  STRATA_ASSIGN_OR_RETURN(const Ports ports, PortsOf(table.model));
  table.inputs = ports.inputs;
  STRATA_ASSIGN_OR_RETURN(std::vector<std::vector<Shape>> shapes, Walk(table.model, 2, ports.free));
  for (const auto& [batch, free] : {std::pair<int64_t, int64_t>{3, ports.free}, {2, 2 * ports.free}}) {
    absl::StatusOr<std::vector<std::vector<Shape>>> other = Walk(table.model, batch, free);
    if (!other.ok()) continue;
    for (size_t i = 0; i < shapes.size(); ++i) {
      for (size_t k = 0; k < shapes[i].size(); ++k) {
        Shape &a = shapes[i][k], &b = (*other)[i][k];
        for (size_t d = 0; d < a.size(); ++d) a[d] = a[d] == b[d] ? a[d] : -1;
      }
    }
  }
  std::set<std::string> counted;
  const std::string separator(1, nn::PathSeparator(table.model.dialect()));
  for (int i = 0; i < table.model.calls_size(); ++i) {
    const v1::Call& call = table.model.calls(i);
    const auto outputs = shapes[i].begin() + call.args_size();
    SummaryRow row{nullptr, &call, {shapes[i].begin(), outputs}, {outputs, shapes[i].end()}, 0};
    for (const v1::Layer& layer : table.model.layers()) {
      if (layer.name() == call.layer()) row.layer = &layer;
    }
    if (counted.insert(call.layer()).second) {
      for (const nn::ParamSpec& p : ports.params) {
        if (absl::StartsWith(p.name, call.layer() + separator)) row.num_parameters += NumElements(p.shape);
      }
    }
    table.rows.push_back(std::move(row));
  }
  for (const nn::ParamSpec& p : ports.params) {
    // PyTorch counts parameters only, Keras buffers too.
    if (p.buffer && table.model.dialect() == v1::PYTORCH) continue;
    table.total += NumElements(p.shape);
    if (p.trainable) table.trainable += NumElements(p.shape);
  }
  return table;
}

std::string ClassName(const v1::Layer& layer, v1::Dialect dialect) {
  if (layer.has_model()) return dialect == v1::KERAS && !IsSequential(layer.model()) ? "Functional" : "Sequential";
  if (layer.has_custom()) return layer.custom().definition().name();
  const auto* kind = nn::KindOf(layer);
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  const auto& names = dialect == v1::KERAS ? schema.keras() : schema.pytorch();
  return names.empty() ? kind->name() : names[0];
}

std::string TupleText(const Shape& shape) {
  const std::string inside = absl::StrJoin(
      shape, ", ", [](std::string* s, int64_t d) { absl::StrAppend(s, d == -1 ? "None" : absl::StrCat(d)); });
  return absl::StrCat("(", inside, shape.size() == 1 ? ",)" : ")");
}

// Fits fields into columns that end at `ends`; a field breaks after "),", "],", "}," or "',".
void AppendRow(std::vector<std::string> fields, const std::vector<size_t>& ends, std::string* out) {
  const auto any = [&] {
    for (const std::string& f : fields) {
      if (!f.empty()) return true;
    }
    return false;
  };
  while (any()) {
    std::string line = " ";
    for (size_t c = 0; c < fields.size(); ++c) {
      const bool last = c + 1 == fields.size();
      const size_t begin = c == 0 ? 0 : ends[c - 1], space = last ? 0 : 2;
      size_t cut = ends[c] - begin - space - (last ? 0 : 1);
      std::string piece = fields[c].substr(0, cut);
      size_t best = std::string::npos;
      for (const char* stop : {"),", "},", "],", "',"}) {
        if (const size_t at = piece.find(stop); at != std::string::npos) best = std::min(best, at + 2);
      }
      if (best != std::string::npos) {
        cut = best;
        piece = piece.substr(0, cut);
      }
      line += piece;
      line.append(space, ' ');
      fields[c] = cut < fields[c].size() ? fields[c].substr(cut) : "";
      if (line.size() < ends[c]) line.append(ends[c] - line.size(), ' ');
    }
    absl::StrAppend(out, line, "\n");
  }
}

std::string MemoryText(int64_t count) {
  double size = static_cast<double>(count) * 4;
  const char* const units[] = {"Byte", "KB", "MB", "GB", "TB"};
  for (const char* unit : units) {
    if (size < 1024) return absl::StrFormat("%.2f %s", size, unit);
    size /= 1024;
  }
  return absl::StrFormat("%.2f PB", size);
}

// A chain: every call reads the one before it, and no layer is called twice.
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

// "layer[node][tensor]": which call of the layer, which of its outputs.
std::string Connection(const v1::Model& model, const v1::Edge& edge) {
  int node = 0;
  for (const v1::Call& call : model.calls()) {
    if (call.name() != edge.call()) continue;
    for (const v1::Call& other : model.calls()) {
      if (other.name() == call.name()) break;
      node += other.layer() == call.layer();
    }
    return absl::StrCat("'", call.layer(), "[", node, "][", edge.output(), "]'");
  }
  return absl::StrCat("'", edge.call(), "[0][0]'");
}

// The shape of a layer's output, or of each of its outputs; calls that do not agree are "multiple".
std::string ShapeText(const SummaryTable& t, const SummaryRow& row) {
  for (const SummaryRow& other : t.rows) {
    if (other.layer == row.layer && other.outputs != row.outputs) return "multiple";
  }
  if (row.outputs.size() == 1) return TupleText(row.outputs[0]);
  const auto tuple = [](std::string* s, const Shape& o) { absl::StrAppend(s, TupleText(o)); };
  const std::string shapes = absl::StrJoin(row.outputs, ", ", tuple);
  // Attentions return their scores in a tuple, recurrent layers and models a list.
  const bool attention =
      row.layer->has_attention() || row.layer->has_additive_attention() || row.layer->has_keras_multi_head_attention();
  return attention ? absl::StrCat("(", shapes, ")") : absl::StrCat("[", shapes, "]");
}

}  // namespace

std::string KerasTable(const SummaryTable& t) {
  const bool chain = EachReadsTheLast(t.model);
  const size_t width = chain ? 65 : 98;
  const std::vector<size_t> ends = chain ? std::vector<size_t>{29, 55, 65} : std::vector<size_t>{29, 58, 68, 98};
  std::string out = absl::StrCat("Model: \"", t.model.name(), "\"\n", std::string(width, '_'), "\n");
  std::vector<std::string> header{"Layer (type)", "Output Shape", "Param #"};
  if (!chain) header.push_back("Connected to");
  AppendRow(header, ends, &out);
  absl::StrAppend(&out, std::string(width, '='), "\n");
  const auto add = [&](std::vector<std::string> fields) {
    AppendRow(std::move(fields), ends, &out);
    absl::StrAppend(&out, std::string(width, ' '), "\n");
  };
  const auto add_input = [&](const PortSpec& in) {
    std::vector<std::string> fields{in.name + " (InputLayer)", absl::StrCat("[", TupleText(in.shape), "]"), "0"};
    if (!chain) fields.push_back("[]");
    add(std::move(fields));
  };
  const auto add_layer = [&](const SummaryRow& row) {
    std::vector<std::string> fields{absl::StrCat(row.layer->name(), " (", ClassName(*row.layer, v1::KERAS), ")"),
                                    ShapeText(t, row), absl::StrCat(row.num_parameters)};
    if (!chain) {
      std::vector<std::string> connections;
      for (const v1::Call& call : t.model.calls()) {
        if (call.layer() != row.layer->name()) continue;
        for (const v1::Edge& edge : call.args()) connections.push_back(Connection(t.model, edge));
      }
      fields.push_back(absl::StrCat("[", absl::StrJoin(connections, ", "), "]"));
    }
    add(std::move(fields));
  };
  // The first call of each layer.
  std::map<std::string, const SummaryRow*> first;
  for (const SummaryRow& row : t.rows) first.emplace(row.call->layer(), &row);
  const int inputs = t.model.inputs_size();
  for (const int place : KerasOrder(t.model)) {
    if (place < inputs) {
      if (!chain || t.model.functional()) add_input(t.inputs[place]);
    } else if (const auto row = first.find(t.model.layers(place - inputs).name()); row != first.end()) {
      add_layer(*row->second);
    }
  }
  absl::StrAppend(&out, std::string(width, '='), "\n");
  const auto total = [&](const char* label, int64_t count) {
    absl::StrAppend(&out, label, " params: ", count, " (", MemoryText(count), ")\n");
  };
  total("Total", t.total);
  total("Trainable", t.trainable);
  total("Non-trainable", t.total - t.trainable);
  absl::StrAppend(&out, std::string(width, '_'), "\n");
  return out;
}

namespace {

// The model of a row whose layer is one, by itself: with the shapes that its call gives it.
v1::Model Inner(const SummaryTable& table, const SummaryRow& row) {
  v1::Model model = row.layer->model();
  model.set_dialect(table.model.dialect());
  for (int i = 0; i < model.inputs_size() && i < static_cast<int>(row.args.size()); ++i) {
    v1::Input& input = *model.mutable_inputs(i);
    if (!input.shape().empty()) continue;
    const size_t lead = !input.has_batched() || input.batched() ? 1 : 0;
    for (size_t d = lead; d < row.args[i].size(); ++d) input.add_shape(row.args[i][d]);
  }
  return model;
}

// 1234567 as "1,234,567".
std::string Grouped(int64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

int64_t ElementsOf(const Shape& shape) {
  int64_t count = 1;
  for (int64_t d : shape) count *= d == -1 ? 1 : d;
  return count;
}

// Modules that run, in their order: containers are none.
absl::Status AppendModules(const SummaryTable& t, int64_t* index, int64_t* elements, std::string* out) {
  for (const SummaryRow& row : t.rows) {
    if (row.layer->has_model()) {
      STRATA_ASSIGN_OR_RETURN(const SummaryTable inner, MakeTable(Inner(t, row)));
      STRATA_RETURN_IF_ERROR(AppendModules(inner, index, elements, out));
      continue;
    }
    const Shape& shape = row.outputs[0];
    absl::StrAppendFormat(out, "%20s  %25s %15s\n", absl::StrCat(ClassName(*row.layer, v1::PYTORCH), "-", ++*index),
                          absl::StrCat("[", absl::StrJoin(shape, ", "), "]"), Grouped(row.num_parameters));
    *elements += ElementsOf(shape);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> TorchkerasTable(const SummaryTable& t) {
  const std::string rule(64, '-'), line(64, '=');
  std::string out = absl::StrCat(rule, "\n");
  absl::StrAppendFormat(&out, "%20s  %25s %15s\n%s\n", "Layer (type)", "Output Shape", "Param #", line);
  int64_t forward = 0, index = 0, input = 0;
  STRATA_RETURN_IF_ERROR(AppendModules(t, &index, &forward, &out));
  for (const PortSpec& in : t.inputs) input += ElementsOf(in.shape);
  const double mb = 4.0 / (1 << 20);
  const double input_mb = static_cast<double>(input) * mb, forward_mb = 2 * static_cast<double>(forward) * mb,
               params_mb = static_cast<double>(t.total) * mb;
  absl::StrAppendFormat(&out, "%s\nTotal params: %s\nTrainable params: %s\nNon-trainable params: %s\n%s\n", line,
                        Grouped(t.total), Grouped(t.trainable), Grouped(t.total - t.trainable), rule);
  absl::StrAppendFormat(&out,
                        "Input size (MB): %f\nForward/backward pass size (MB): %f\nParams size (MB): %f\nEstimated "
                        "Total Size (MB): %f\n%s\n",
                        input_mb, forward_mb, params_mb, input_mb + forward_mb + params_mb, rule);
  return out;
}

namespace {

// Sizes that a definition leaves open and its input decides, as PyTorch prints them: from the parameters' shapes.
void FillInputSizes(const std::map<std::string, Shape>& params, const std::string& prefix, v1::Model* model) {
  for (v1::Layer& layer : *model->mutable_layers()) {
    const std::string path = prefix + layer.name() + ".";
    const auto size = [&](const char* name, size_t axis) -> int64_t {
      const auto it = params.find(path + name);
      return it == params.end() || axis >= it->second.size() ? 0 : it->second[axis];
    };
    if (layer.has_model()) {
      FillInputSizes(params, path, layer.mutable_model());
      continue;
    }
    const auto* kind = nn::KindOf(layer);
    if (kind == nullptr) continue;
    google::protobuf::Message* attrs = layer.GetReflection()->MutableMessage(&layer, kind);
    const auto set = [&](const char* field, int64_t value) {
      const auto* f = attrs->GetDescriptor()->FindFieldByName(field);
      if (f != nullptr && value > 0 && !attrs->GetReflection()->HasField(*attrs, f))
        attrs->GetReflection()->SetInt64(attrs, f, value);
    };
    if (auto* conv = google::protobuf::DynamicCastToGenerated<v1::Conv>(attrs)) {
      set("in_channels", size("weight", 1) * conv->groups());
    }
    if (google::protobuf::DynamicCastToGenerated<v1::ConvTranspose>(attrs) != nullptr) {
      set("in_channels", size("weight", 0));
    }
    set("in_features", size("weight", 1));
    set("num_features", std::max(size("running_mean", 0), size("weight", 0)));
    set("num_channels", size("weight", 0));
    set("input_size", std::max(size("weight_ih_l0", 1), size("weight_ih", 1)));
  }
}

}  // namespace

absl::StatusOr<v1::Model> WithInputSizes(const v1::Model& given) {
  STRATA_ASSIGN_OR_RETURN(v1::Model model, Complete(given));
  STRATA_ASSIGN_OR_RETURN(const Ports ports, PortsOf(model));
  std::map<std::string, Shape> params;
  for (const nn::ParamSpec& p : ports.params) params[p.name] = p.shape;
  FillInputSizes(params, "", &model);
  return model;
}

absl::StatusOr<std::string> Summarize(const v1::Model& model, const std::string& style) {
  if (style == "pytorch") {
    STRATA_ASSIGN_OR_RETURN(const v1::Model complete, WithInputSizes(model));
    return PrintPytorch(complete) + "\n";
  }
  STRATA_ASSIGN_OR_RETURN(const SummaryTable table, MakeTable(model));
  if (style == "keras") return KerasTable(table);
  if (style == "torchkeras") return TorchkerasTable(table);
  return InvalidArgument("style: must be keras, torchkeras or pytorch, got ", style);
}

}  // namespace strata
