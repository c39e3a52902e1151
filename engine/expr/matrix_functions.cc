// Sums of products over named axes (einsum and what it covers), diagonals, sorted elements.
#include <algorithm>
#include <cmath>
#include <string>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

bool Has(const std::string& labels, char label) { return labels.find(label) != std::string::npos; }

// The axes of x, which have these labels, in another order.
Value InOrder(Value x, const std::string& labels, const std::string& wanted) {
  std::vector<int64_t> order;
  for (char label : wanted) order.push_back(static_cast<int64_t>(labels.find(label)));
  return Transpose(x, order);
}

int64_t SizeOf(Value x, const std::string& labels, const std::string& group) {
  int64_t size = 1;
  for (char label : group) size *= x.dim(static_cast<int>(labels.find(label)));
  return size;
}

// Two tensors whose axes have labels, one each: the sum of products over the labels that `out` leaves out, as one
// matrix product. Labels are letters.
Result SumOfProducts(const Call& c, Value a, std::string la, Value b, std::string lb, const std::string& out) {
  for (char label : la) {
    const size_t other = lb.find(label);
    if (other == std::string::npos) continue;
    const int64_t x = a.dim(static_cast<int>(la.find(label))), y = b.dim(static_cast<int>(other));
    if (x != y) return c.Error("axes must have one size, got ", x, " and ", y);
  }
  // Axes of one alone that do not come out are summed before.
  const auto reduce = [&out](Value* x, std::string* own, const std::string& other) {
    std::vector<int64_t> axes;
    std::string left;
    for (size_t i = 0; i < own->size(); ++i) {
      const bool goes = !Has(other, (*own)[i]) && !Has(out, (*own)[i]);
      if (goes) axes.push_back(static_cast<int64_t>(i));
      if (!goes) left += (*own)[i];
    }
    if (!axes.empty()) *x = ReduceSum(*x, axes);
    *own = left;
  };
  reduce(&a, &la, lb);
  reduce(&b, &lb, la);
  std::string batch, summed, rows, columns;
  for (char label : la) (!Has(lb, label) ? rows : Has(out, label) ? batch : summed) += label;
  for (char label : lb) {
    if (!Has(la, label)) columns += label;
  }
  const int64_t n = SizeOf(a, la, batch), k = SizeOf(a, la, summed), i = SizeOf(a, la, rows),
                j = SizeOf(b, lb, columns);
  Shape shape;
  for (char label : batch + rows) shape.push_back(a.dim(static_cast<int>(la.find(label))));
  for (char label : columns) shape.push_back(b.dim(static_cast<int>(lb.find(label))));
  const Value x = Reshape(InOrder(a, la, batch + rows + summed), {n, i, k});
  const Value y = Reshape(InOrder(b, lb, batch + summed + columns), {n, k, j});
  return Object(InOrder(Reshape(MatMul(x, y), shape), batch + rows + columns, out));
}

// One tensor: labels that `out` leaves out are summed, the others ordered.
Result SumOf(Value x, const std::string& labels, const std::string& out) {
  std::vector<int64_t> axes;
  std::string left;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (!Has(out, labels[i])) axes.push_back(static_cast<int64_t>(i));
    if (Has(out, labels[i])) left += labels[i];
  }
  return Object(InOrder(axes.empty() ? x : ReduceSum(x, axes), left, out));
}

// "bij,bjk->bik" as lists of labels; without an arrow the labels that stand once come out, sorted.
absl::Status ParseEquation(const Call& c, const std::string& text, std::vector<std::string>* inputs, std::string* out) {
  inputs->assign(1, "");
  out->clear();
  bool arrow = false;
  std::string* current = &inputs->back();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ') continue;
    if (text[i] == ',' && !arrow) {
      current = &inputs->emplace_back();
    } else if (text[i] == '-' && i + 1 < text.size() && text[i + 1] == '>' && !arrow) {
      arrow = true;
      current = out;
      ++i;
    } else if (std::isalpha(static_cast<unsigned char>(text[i])) != 0) {
      if (Has(*current, text[i])) return c.Error("an operand must have a label once, got '", text, "'");
      *current += text[i];
    } else {
      return c.Error("equation must have letters, commas and one arrow, got '", text, "'");
    }
  }
  std::string all;
  for (const std::string& labels : *inputs) all += labels;
  for (char label : *out) {
    if (!Has(all, label)) return c.Error("the result's labels must be the operands', got '", text, "'");
  }
  if (arrow) return absl::OkStatus();
  std::sort(all.begin(), all.end());
  for (char label : all) {
    if (std::count(all.begin(), all.end(), label) == 1) *out += label;
  }
  return absl::OkStatus();
}

Result CallEinsum(const Call& c) {
  const std::string* equation = c.argument(0)->text();
  if (equation == nullptr) return c.Error("equation must be a text, got ", Describe(*c.argument(0)));
  std::vector<Value> operands;
  if (c.argument(1)->list() != nullptr) {
    STRATA_ASSIGN_OR_RETURN(operands, c.Tensors(1));
  } else {
    STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(1));
    operands = {x};
  }
  std::vector<std::string> labels;
  std::string out;
  STRATA_RETURN_IF_ERROR(ParseEquation(c, *equation, &labels, &out));
  if (labels.size() != operands.size()) {
    return c.Error("must have ", labels.size(), " operands, got ", operands.size());
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    if (static_cast<int>(labels[i].size()) == operands[i].rank()) continue;
    return c.Error("operand ", i, " must have ", labels[i].size(), " axes, got ", Describe(Object(operands[i])));
  }
  // From left to right; what a later operand or the result needs stays.
  Value x = operands[0];
  std::string own = labels[0];
  if (operands.size() == 1) return SumOf(x, own, out);
  for (size_t i = 1; i < operands.size(); ++i) {
    std::string later = out, kept;
    for (size_t k = i + 1; k < operands.size(); ++k) later += labels[k];
    for (char label : own + labels[i]) {
      if (Has(later, label) && !Has(kept, label)) kept += label;
    }
    if (i + 1 == operands.size()) kept = out;
    STRATA_ASSIGN_OR_RETURN(const Object product, SumOfProducts(c, x, own, operands[i], labels[i], kept));
    x = *product.tensor();
    own = kept;
  }
  return Object(x);
}

absl::StatusOr<std::vector<int64_t>> AxesOf(const Call& c, const Object& given, int rank) {
  const Object::List one{given};
  std::vector<int64_t> axes;
  for (const Object& item : given.list() != nullptr ? *given.list() : one) {
    const Number* n = item.number();
    if (n == nullptr || n->kind == Number::Kind::kFloat || n->integer < -rank || n->integer >= rank) {
      return c.Error("axes must be between ", -rank, " and ", rank - 1, ", got ", Describe(item));
    }
    axes.push_back(n->integer < 0 ? n->integer + rank : n->integer);
  }
  return axes;
}

// Contracts axes of two tensors; with `batch` axis 0 of both stays. What is left comes out in order.
Result Contract(const Call& c, Value a, Value b, const std::vector<int64_t>& axes_a, const std::vector<int64_t>& axes_b,
                bool batch) {
  if (axes_a.size() != axes_b.size()) {
    return c.Error("axes must be as many on both sides, got ", axes_a.size(), " and ", axes_b.size());
  }
  std::string la, lb, out;
  for (int i = 0; i < a.rank(); ++i) la += static_cast<char>('a' + i);
  for (int i = 0; i < b.rank(); ++i) lb += static_cast<char>('A' + i);
  if (batch) lb[0] = la[0];
  for (size_t i = 0; i < axes_a.size(); ++i) lb[axes_b[i]] = la[axes_a[i]];
  for (char label : la + lb) {
    const bool both = Has(la, label) && Has(lb, label);
    if (!both || (batch && label == la[0] && !Has(out, label))) out += label;
  }
  return SumOfProducts(c, a, la, b, lb, out);
}

// axes: how many of the last and the first, or the axes of both.
Result CallTensorDot(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  std::vector<int64_t> a, b;
  const Object::List* lists = c.has(2) ? c.argument(2)->list() : nullptr;
  if (lists != nullptr && lists->size() == 2) {
    STRATA_ASSIGN_OR_RETURN(a, AxesOf(c, (*lists)[0], p.a.rank()));
    STRATA_ASSIGN_OR_RETURN(b, AxesOf(c, (*lists)[1], p.b.rank()));
    return Contract(c, p.a, p.b, a, b, false);
  }
  int64_t count = 2;
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(count, c.Integer(2));
  }
  if (count < 0 || count > std::min(p.a.rank(), p.b.rank())) {
    return c.Error("axes must be at most the axes of both, got ", count);
  }
  for (int64_t i = 0; i < count; ++i) {
    a.push_back(p.a.rank() - count + i);
    b.push_back(i);
  }
  return Contract(c, p.a, p.b, a, b, false);
}
// keras.backend's: by default the last axis and the last but one (of a matrix the last).
Result CallBatchDot(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  if (p.a.rank() < 2 || p.b.rank() < 2) return c.Error("x and y must have 2 axes, got ", Describe(Object(p.a)));
  std::vector<int64_t> a{p.a.rank() - 1}, b{p.b.rank() == 2 ? 1 : p.b.rank() - 2};
  if (c.has(2)) {
    const Object::List* pair = c.argument(2)->list();
    const bool two = pair != nullptr && pair->size() == 2;
    STRATA_ASSIGN_OR_RETURN(a, AxesOf(c, two ? (*pair)[0] : *c.argument(2), p.a.rank()));
    STRATA_ASSIGN_OR_RETURN(b, AxesOf(c, two ? (*pair)[1] : *c.argument(2), p.b.rank()));
  }
  if (a[0] == 0 || b[0] == 0) return c.Error("axes must not be the batch's, got 0");
  STRATA_ASSIGN_OR_RETURN(const Object y, Contract(c, p.a, p.b, a, b, true));
  return y.tensor()->rank() == 1 ? Object(ExpandDims(*y.tensor(), 1)) : y;
}
Result CallOuter(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  if (p.a.rank() != 1 || p.b.rank() != 1) return c.Error("must have one axis each, got ", Describe(Object(p.a)));
  return Object(ExpandDims(p.a, 1) * ExpandDims(p.b, 0));
}
// x W^T + b
Result CallLinear(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  if (p.a.rank() < 1 || p.b.rank() != 2) return c.Error("weight must have 2 axes, got ", Describe(Object(p.b)));
  STRATA_ASSIGN_OR_RETURN(const Object y, Contract(c, p.a, p.b, {p.a.rank() - 1}, {1}, false));
  return c.has(2) ? ApplyBinary(c.evaluator(), c.place(), "+", y, *c.argument(2)) : y;
}

// The diagonal of the last two axes, as the last axis.
absl::StatusOr<Value> DiagonalOf(const Call& c, Value x) {
  if (x.rank() < 2) return c.Error("x must have 2 axes, got ", Describe(Object(x)));
  const Shape shape{x.dim(-2), x.dim(-1)};
  const Value on = Equal(Iota(c.graph(), shape, 0, DType::kI32), Iota(c.graph(), shape, 1, DType::kI32));
  const Value rows = ReduceSum(Select(on, x, Like(x, 0)), {x.rank() - 1});
  return SliceAxis(rows, rows.rank() - 1, 0, std::min(shape[0], shape[1]));
}
Result CallDiagPart(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Value d, DiagonalOf(c, x));
  return Object(d);
}
Result CallTrace(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Value d, DiagonalOf(c, x));
  return Object(ReduceSum(d, {d.rank() - 1}));
}
// PyTorch's: of the first two axes, or those that are named.
Result CallDiagonal(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (x.rank() < 2) return c.Error("x must have 2 axes, got ", Describe(Object(x)));
  int a = 0, b = 1;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(a, c.Axis(1, x.rank()));
  }
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(b, c.Axis(2, x.rank()));
  }
  if (a == b) return c.Error("dim1 and dim2 must differ, got ", a, " twice");
  std::vector<int64_t> order;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != a && i != b) order.push_back(i);
  }
  order.insert(order.end(), {a, b});
  STRATA_ASSIGN_OR_RETURN(const Value d, DiagonalOf(c, Transpose(x, order)));
  return Object(d);
}

// The first `count` elements of an axis in order, and the places that they come from. Each element's place is the
// number of those before it; of equal ones the first comes first.
struct Sorted {
  Value values, places;
};
Sorted SortAxis(Value x, int axis, bool descending, int64_t count) {
  const int last = x.rank() - 1;
  const Value y = axis == last ? x : SwapAxes(x, axis, last);
  Shape square = y.shape();
  square.push_back(y.dim(-1));
  const Value own = Broadcast(ExpandDims(y, last + 1), square), other = Broadcast(ExpandDims(y, last), square);
  const Value at = Iota(x.graph, square, last, DType::kI32), of = Iota(x.graph, square, last + 1, DType::kI32);
  const Value before = Or(descending ? Greater(other, own) : Less(other, own), And(Equal(other, own), Less(of, at)));
  const Value rank = ReduceSum(Cast(before, DType::kI32), {last + 1});  // of each element
  Shape chosen = y.shape();
  chosen.back() = count;
  chosen.push_back(y.dim(-1));
  const Value goes = Equal(Iota(x.graph, chosen, last, DType::kI32), Broadcast(ExpandDims(rank, last), chosen));
  const Value spread = Broadcast(ExpandDims(y, last), chosen), index = Iota(x.graph, chosen, last + 1, DType::kI64);
  Sorted s{ReduceSum(Select(goes, spread, Like(spread, 0)), {last + 1}),
           ReduceSum(Select(goes, index, Like(index, 0)), {last + 1})};
  if (axis != last) s = {SwapAxes(s.values, axis, last), SwapAxes(s.places, axis, last)};
  return s;
}

constexpr int64_t kMaxSorted = 2048;  // the work grows with its square

// Every element: the tensor in KERAS, [values, indices] in PYTORCH.
absl::StatusOr<Sorted> Sort(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  int axis = x.rank() - 1;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, x.rank()));
  }
  bool descending = false;
  if (c.has(2) && c.argument(2)->text() != nullptr) {
    descending = *c.argument(2)->text() == "DESCENDING";
  } else if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(descending, c.Flag(2));
  }
  if (x.dim(axis) > kMaxSorted) return c.Error("the axis must have at most ", kMaxSorted, ", got ", x.dim(axis));
  return SortAxis(x, axis, descending, x.dim(axis));
}
Result CallSort(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Sorted s, Sort(c));
  return c.evaluator().pytorch() ? Object(Object::List{s.values, s.places}) : Object(s.values);
}
Result CallArgSort(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Sorted s, Sort(c));
  return Object(s.places);
}
// The k largest: [values, indices].
Result CallTopK(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  STRATA_ASSIGN_OR_RETURN(const int64_t k, c.Integer(1));
  int axis = x.rank() - 1;
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(2, x.rank()));
  }
  bool largest = true;
  if (c.has(3)) {
    STRATA_ASSIGN_OR_RETURN(largest, c.Flag(3));
  }
  if (k < 0 || k > x.dim(axis) || x.dim(axis) > kMaxSorted) {
    return c.Error("k must be at most the axis' size, which must be at most ", kMaxSorted, ", got ", k, " of ",
                   x.dim(axis));
  }
  const Sorted s = SortAxis(x, axis, largest, k);
  return Object(Object::List{s.values, s.places});
}

constexpr Function kMatrixFunctions[] = {
    {"einsum", "equation operands*", CallEinsum},
    {"tensordot", "a b axes|dims?", CallTensorDot},
    {"batch_dot", "x y axes?", CallBatchDot},
    {"outer", "x|input y|vec2", CallOuter},
    {"linear", "input|x weight bias?", CallLinear},
    {"diag_part", "x|input", CallDiagPart},
    {"trace", "x|input", CallTrace},
    {"diagonal", "x|input dim1? dim2?", CallDiagonal},
    {"sort", "x|values|input axis|dim? descending|direction?", CallSort},
    {"argsort", "x|values|input axis|dim? descending|direction?", CallArgSort},
    {"top_k", "x|input k dim|axis?", CallTopK},
    {"topk", "x|input k dim|axis? largest?", CallTopK},
};

}  // namespace

std::span<const Function> MatrixFunctions() { return kMatrixFunctions; }

}  // namespace strata::expr
