// Keras' model.summary().
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/chain.h"
#include "engine/nn/schema.h"
#include "engine/summary.h"

namespace strata {
namespace {

constexpr int64_t kTrainableWidth = 11;  // of the column that show_trainable adds
constexpr int64_t kMaxLineLength = 1000;

std::string TupleText(const Shape& shape) {
  const std::string inside = absl::StrJoin(
      shape, ", ", [](std::string* s, int64_t d) { absl::StrAppend(s, d == -1 ? "None" : absl::StrCat(d)); });
  return absl::StrCat("(", inside, shape.size() == 1 ? ",)" : ")");
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

// What a model's outputs are by its own declaration.
std::vector<Shape> DeclaredOutputs(const SummaryTable& t) {
  std::vector<Shape> shapes;
  for (const v1::Output& output : t.model.outputs()) {
    for (const PortSpec& in : t.inputs) {
      if (in.name == output.edge().call()) shapes.push_back(in.shape);
    }
    for (const SummaryRow& row : t.rows) {
      if (row.call->name() == output.edge().call()) shapes.push_back(row.outputs[output.edge().output()]);
    }
  }
  return shapes;
}

// The shape of a layer's output, or of each of its outputs; calls that do not agree are "multiple". A model has its own
// shapes, whatever it is called with.
absl::StatusOr<std::string> ShapeText(const SummaryTable& t, const SummaryRow& row) {
  std::vector<Shape> outputs = row.outputs;
  if (row.layer->has_model()) {
    STRATA_ASSIGN_OR_RETURN(const SummaryTable inner, MakeTable(Inner(t, row)));
    outputs = DeclaredOutputs(inner);
  }
  for (const SummaryRow& other : t.rows) {
    if (other.layer == row.layer && !row.layer->has_model() && other.outputs != row.outputs) return "multiple";
  }
  if (outputs.size() == 1) return TupleText(outputs[0]);
  const auto tuple = [](std::string* s, const Shape& o) { absl::StrAppend(s, TupleText(o)); };
  const std::string shapes = absl::StrJoin(outputs, ", ", tuple);
  // Attentions return their scores in a tuple, recurrent layers and models a list.
  const bool attention =
      row.layer->has_attention() || row.layer->has_additive_attention() || row.layer->has_keras_multi_head_attention();
  return attention ? absl::StrCat("(", shapes, ")") : absl::StrCat("[", shapes, "]");
}

std::string Repeat(const char* text, int64_t count) {
  std::string all;
  for (int64_t i = 0; i < count; ++i) all += text;
  return all;
}

bool IsTrainable(const v1::Layer& layer) { return !layer.has_trainable() || layer.trainable(); }

// Prints the table of one model, and those of models within it.
class Printer {
 public:
  Printer(const SummaryTable& table, const SummaryOptions& options)
      : table_(table), options_(options), chain_(EachReadsTheLast(table.model)) {}

  absl::StatusOr<std::string> Print() {
    STRATA_RETURN_IF_ERROR(SetColumns());
    absl::StrAppend(&out_, "Model: \"", table_.model.name(), "\"\n", std::string(width_, '_'), "\n");
    std::vector<std::string> header{"Layer (type)", "Output Shape", "Param #"};
    if (!chain_) header.push_back("Connected to");
    if (options_.show_trainable) header.push_back("Trainable");
    AppendRow(std::move(header), 0);
    absl::StrAppend(&out_, std::string(width_, '='), "\n");
    STRATA_RETURN_IF_ERROR(AppendLayers(table_, 0, true));
    absl::StrAppend(&out_, std::string(width_, '='), "\n");
    AppendTotal("Total", table_.total);
    AppendTotal("Trainable", table_.trainable);
    AppendTotal("Non-trainable", table_.total - table_.trainable);
    absl::StrAppend(&out_, std::string(width_, '_'), "\n");
    return out_;
  }

 private:
  // Where the columns end.
  absl::Status SetColumns() {
    width_ = options_.line_length > 0 ? options_.line_length : chain_ ? 65 : 98;
    if (options_.line_length < 0 || width_ > kMaxLineLength) {
      return InvalidArgument("line_length: must be in [0, ", kMaxLineLength, "], got ", options_.line_length);
    }
    std::vector<double> positions = options_.positions;
    if (positions.empty()) {
      positions = chain_ ? std::vector<double>{.45, .85, 1} : std::vector<double>{.3, .6, .7, 1};
    }
    const size_t columns = chain_ ? 3 : 4;
    if (positions.size() != columns) {
      return InvalidArgument("positions: must be ", columns, " for this model, got ", positions.size());
    }
    const double scale = positions.back() <= 1 ? static_cast<double>(width_) : 1;
    for (const double p : positions) {
      // A column holds two spaces behind its text, and one before the first's.
      const bool within = p * scale >= 0 && p * scale <= kMaxLineLength;
      const int64_t end = within ? static_cast<int64_t>(p * scale) : kMaxLineLength + 1;
      if (end > kMaxLineLength || end < (ends_.empty() ? 0 : ends_.back()) + 4) {
        return InvalidArgument("positions: must grow by 4 characters or more and be at most ", kMaxLineLength, ", got ",
                               p);
      }
      ends_.push_back(end);
    }
    if (options_.show_trainable) ends_.push_back(width_ += kTrainableWidth);
    return absl::OkStatus();
  }

  // Fits fields into the columns; a field breaks after "),", "],", "}," or "',". `level` bars stand on both sides.
  void AppendRow(std::vector<std::string> fields, int64_t level) {
    const auto left = [&] { return std::any_of(fields.begin(), fields.end(), [](auto& f) { return !f.empty(); }); };
    while (left()) {
      std::string line = std::string(level, '|') + " ";
      for (size_t c = 0; c < fields.size(); ++c) {
        const bool last = c + 1 == fields.size();
        const int64_t begin = c == 0 ? 0 : ends_[c - 1], space = last ? 0 : 2;
        int64_t cut = ends_[c] - begin - space - (last ? 0 : 1) - (c == 0 ? level : 0);
        cut = std::max<int64_t>(cut, 1);
        for (const char* stop : {"),", "},", "],", "',"}) {
          const size_t at = fields[c].substr(0, cut).find(stop);
          if (at != std::string::npos) cut = static_cast<int64_t>(at) + 2;
        }
        line += fields[c].substr(0, cut);
        line.append(space, ' ');
        fields[c].erase(0, cut);
        const int64_t padded = ends_[c] - (last ? level : 0);
        if (static_cast<int64_t>(line.size()) < padded) line.append(padded - line.size(), ' ');
      }
      absl::StrAppend(&out_, line, std::string(level, '|'), "\n");
    }
  }

  void AppendLine(const char* filling, int64_t level) {
    const std::string bars(level, '|');
    absl::StrAppend(&out_, bars, Repeat(filling, width_ - 2 * level), bars, "\n");
  }

  void AppendTotal(const char* label, int64_t count) {
    absl::StrAppend(&out_, label, " params: ", count, " (", MemoryText(count), ")\n");
  }

  // The layers of the outermost model, or of one `level` models further in. `trainable`: the models around it are.
  absl::Status AppendLayers(const SummaryTable& t, int64_t level, bool trainable) {
    // The first call of each layer.
    std::map<std::string, const SummaryRow*> first;
    for (const SummaryRow& row : t.rows) first.emplace(row.call->layer(), &row);
    std::vector<int> places;
    const int inputs = t.model.inputs_size();
    const bool lists_inputs = level > 0 ? !IsSequential(t.model) : !chain_ || t.model.functional();
    for (const int place : KerasOrder(t.model)) {
      const bool shown = place < inputs ? lists_inputs : first.count(t.model.layers(place - inputs).name()) > 0;
      if (shown) places.push_back(place);
    }
    for (const int place : places) {
      bool spaced = level == 0 || place != places.back();
      if (place < inputs) {
        const PortSpec& in = t.inputs[place];
        AppendFields(in.name + " (InputLayer)", absl::StrCat("[", TupleText(in.shape), "]"), 0, "[]", trainable, level);
      } else {
        const SummaryRow& row = *first.at(t.model.layers(place - inputs).name());
        const bool own = trainable && IsTrainable(*row.layer);
        STRATA_ASSIGN_OR_RETURN(std::string shape, ShapeText(t, row));
        AppendFields(absl::StrCat(row.layer->name(), " (", ClassName(*row.layer, v1::KERAS), ")"), std::move(shape),
                     row.num_parameters, level == 0 ? Connections(t.model, *row.layer) : "[]", own, level);
        if (options_.expand_nested && row.layer->has_model()) {
          STRATA_ASSIGN_OR_RETURN(const SummaryTable inner, MakeTable(Inner(t, row)));
          AppendLine("\u00AF", level + 1);
          STRATA_RETURN_IF_ERROR(AppendLayers(inner, level + 1, own));
          AppendLine("\u00AF", level);
          spaced = false;
        }
      }
      if (spaced) AppendLine(" ", level);
    }
    return absl::OkStatus();
  }

  void AppendFields(std::string name, std::string shape, int64_t parameters, std::string connections, bool trainable,
                    int64_t level) {
    std::vector<std::string> fields{std::move(name), std::move(shape), absl::StrCat(parameters)};
    if (!chain_) fields.push_back(std::move(connections));
    if (options_.show_trainable) fields.push_back(trainable ? "Y" : "N");
    AppendRow(std::move(fields), level);
  }

  static std::string Connections(const v1::Model& model, const v1::Layer& layer) {
    std::vector<std::string> all;
    for (const v1::Call& call : model.calls()) {
      if (call.layer() != layer.name()) continue;
      for (const v1::Edge& edge : SourcesOf(call)) all.push_back(Connection(model, edge));
    }
    return absl::StrCat("[", absl::StrJoin(all, ", "), "]");
  }

  const SummaryTable& table_;
  const SummaryOptions& options_;
  const bool chain_;
  int64_t width_ = 0;
  std::vector<int64_t> ends_;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> KerasTable(const SummaryTable& table, const SummaryOptions& options) {
  return Printer(table, options).Print();
}

}  // namespace strata
