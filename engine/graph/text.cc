// The text form of a graph, for readers and for golden tests.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/graph.h"

namespace strata {
namespace {

struct AttrText {
  size_t inputs = 0;  // of the node
  std::string operator()(const NoAttrs&) const { return ""; }
  std::string operator()(const AxesAttrs& a) const { return absl::StrCat("axes=", ShapeString(a.axes)); }
  std::string operator()(const ShapeAttrs& a) const { return a.axis ? absl::StrCat("axis=", a.axis) : ""; }
  std::string operator()(const LiteralAttrs& a) const {
    if (a.value->num_elements() == 1) return absl::StrCat(a.value->At(0));
    return "...";
  }
  std::string operator()(const CastAttrs&) const { return ""; }
  std::string operator()(const VariableAttrs& a) const { return absl::StrCat("variable=", a.index); }
  std::string operator()(const RandomAttrs& a) const { return absl::StrCat("stream=", absl::Hex(a.stream)); }
  std::string operator()(const MatMulAttrs& a) const {
    return absl::StrCat(a.transpose_a ? "transpose_a" : "", a.transpose_a && a.transpose_b ? ", " : "",
                        a.transpose_b ? "transpose_b" : "", a.residual ? ", +residual" : "");
  }
  std::string operator()(const ConvAttrs& a) const {
    std::string s =
        absl::StrCat("stride=", ShapeString(a.stride), ", pad=", ShapeString(a.pad_lo), ShapeString(a.pad_hi));
    if (NumElements(a.dilation) != 1) absl::StrAppend(&s, ", dilation=", ShapeString(a.dilation));
    if (a.groups != 1) absl::StrAppend(&s, ", groups=", a.groups);
    if (a.weights_oi) absl::StrAppend(&s, ", weights_oi");
    if (a.bias) absl::StrAppend(&s, ", +bias");
    if (a.residual) absl::StrAppend(&s, ", +residual");
    if (a.relu) absl::StrAppend(&s, ", +relu");
    return s;
  }
  std::string operator()(const PoolAttrs& a) const {
    std::string s = "windows=";
    for (const auto& axis : a.axes) {
      absl::StrAppend(&s, "(", axis.start.size(), " of ", axis.length.empty() ? 0 : axis.length[0], ")");
    }
    return s;
  }
  std::string operator()(const PadAttrs& a) const {
    return absl::StrCat("lo=", ShapeString(a.lo), ", hi=", ShapeString(a.hi), ", value=", a.value);
  }
  std::string operator()(const SliceAttrs& a) const {
    std::string s = absl::StrCat("start=", ShapeString(a.start));
    if (NumElements(a.step) != 1) absl::StrAppend(&s, ", step=", ShapeString(a.step));
    return s;
  }
  std::string operator()(const ScanAttrs& a) const {
    return absl::StrCat("carry=", a.num_carry, ", sequences=", a.num_sequences, ", length=", a.length,
                        a.reverse ? ", reverse" : "");
  }
  std::string operator()(const FusedAttrs& a) const {
    std::string s;
    for (size_t i = 0; i < a.code.size(); ++i) {
      const auto& c = a.code[i];
      absl::StrAppend(&s, i ? "; " : "", "r", inputs + i, " = ", OpName(c.op), " r", c.a);
      if (c.b >= 0) absl::StrAppend(&s, " r", c.b);
      if (c.c >= 0) absl::StrAppend(&s, " r", c.c);
    }
    for (const auto& r : a.results) {
      const char* how = r.store == FusedAttrs::Store::kFull      ? "store"
                        : r.store == FusedAttrs::Store::kSumAll  ? "sum"
                        : r.store == FusedAttrs::Store::kSumRows ? "sum_rows"
                                                                 : "sum_columns";
      absl::StrAppend(&s, "; ", how, " r", r.reg);
      if (r.variable >= 0) absl::StrAppend(&s, " -> variable ", r.variable);
    }
    return s;
  }
};

std::string TypeText(const ValueInfo& v) { return absl::StrCat(DTypeName(v.dtype), ShapeString(v.shape)); }

void Append(const Graph& graph, const std::string& indent, std::string* out) {
  size_t next_input = 0;
  for (const Node& node : graph.nodes()) {
    std::string line = indent;
    for (size_t i = 0; i < node.outputs.size(); ++i) absl::StrAppend(&line, i ? ", " : "", "%", node.outputs[i]);
    absl::StrAppend(&line, node.outputs.empty() ? "" : " = ", OpName(node.op), "(");
    std::string args = absl::StrJoin(node.inputs, ", ", [](std::string* s, ValueId v) { absl::StrAppend(s, "%", v); });
    std::string attrs;
    if (node.op == Op::kInput) {
      attrs = absl::StrCat("\"", graph.inputs()[next_input++].name, "\"");
    } else if (node.op == Op::kVariable || node.op == Op::kAssign) {
      attrs = absl::StrCat("\"", graph.variables()[node.as<VariableAttrs>().index].name, "\"");
    } else {
      attrs = std::visit(AttrText{node.inputs.size()}, node.attrs);
    }
    absl::StrAppend(&line, args, args.empty() || attrs.empty() ? "" : ", ", attrs, ")");
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      absl::StrAppend(&line, i ? ", " : " : ", TypeText(graph.info(node.outputs[i])));
    }
    absl::StrAppend(out, line, "\n");
    if (node.op == Op::kScan) Append(*node.as<ScanAttrs>().body, indent + "    ", out);
  }
  for (const NamedValue& o : graph.outputs())
    absl::StrAppend(out, indent, "output \"", o.name, "\" = %", o.value, "\n");
}

}  // namespace

const char* OpName(Op op) {
  static constexpr const char* kNames[] = {"input",
                                           "variable",
                                           "constant",
                                           "iota",
                                           "random",
                                           "neg",
                                           "abs",
                                           "sign",
                                           "exp",
                                           "expm1",
                                           "log",
                                           "log1p",
                                           "sqrt",
                                           "sigmoid",
                                           "tanh",
                                           "erf",
                                           "floor",
                                           "not",
                                           "is_finite",
                                           "cast",
                                           "add",
                                           "sub",
                                           "mul",
                                           "div",
                                           "max",
                                           "min",
                                           "pow",
                                           "less",
                                           "less_equal",
                                           "equal",
                                           "and",
                                           "or",
                                           "select",
                                           "matmul",
                                           "conv",
                                           "conv_grad_input",
                                           "conv_grad_weight",
                                           "max_pool",
                                           "max_pool_grad",
                                           "sum_pool",
                                           "sum_pool_grad",
                                           "reduce_sum",
                                           "reduce_max",
                                           "reduce_min",
                                           "argmax",
                                           "softmax",
                                           "log_softmax",
                                           "reshape",
                                           "transpose",
                                           "pad",
                                           "slice",
                                           "concat",
                                           "broadcast",
                                           "reverse",
                                           "gather",
                                           "scatter_add",
                                           "detach",
                                           "scan",
                                           "assign",
                                           "fused"};
  static_assert(std::size(kNames) == static_cast<size_t>(Op::kFused) + 1);
  return kNames[static_cast<size_t>(op)];
}

std::string ToText(const Graph& graph) {
  std::string out;
  Append(graph, "", &out);
  return out;
}

}  // namespace strata
