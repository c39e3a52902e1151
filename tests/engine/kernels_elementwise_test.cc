// Elementwise and fused kernels against the reference.
#include "tests/engine/kernels_support.h"

namespace strata {
namespace {

const Shape kShapes[] = {{},      {1},       {3},       {17},     {33, 1}, {1, 100},
                         {7, 33}, {3, 5, 7}, {2, 1000}, {64, 10}, {0, 4},  {5, 2000}};

TEST(Elementwise, UnaryOps) {
  for (Op op = Op::kNeg; op < Op::kCast; op = static_cast<Op>(static_cast<int>(op) + 1)) {
    for (const Shape& shape : kShapes) {
      Graph g;
      g.MarkOutput("y", Unary(op, g.AddInput("x", DType::kF32, shape)));
      SCOPED_TRACE(OpName(op));
      ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 0, .special = shape.size() == 2});
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Elementwise, UnaryOpsOverTheirWholeRange) {
  struct Range {
    Op op;
    double low, high;
  };
  for (const Range& r : {Range{Op::kExp, -87, 88.7}, Range{Op::kExpm1, -20, 88}, Range{Op::kExpm1, -1e-3, 1e-3},
                         Range{Op::kLog, 0, 1e30}, Range{Op::kLog, 0.9, 1.1}, Range{Op::kLog1p, -0.999, 10},
                         Range{Op::kLog1p, -1e-4, 1e-4}, Range{Op::kTanh, -12, 12}, Range{Op::kTanh, -1e-2, 1e-2},
                         Range{Op::kSigmoid, -80, 80}, Range{Op::kErf, -5, 5}, Range{Op::kErf, -1e-3, 1e-3},
                         Range{Op::kSqrt, 0, 1e20}}) {
    Graph g;
    g.MarkOutput("y", Unary(r.op, g.AddInput("x", DType::kF32, {20000})));
    SCOPED_TRACE(OpName(r.op));
    ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 0, .low = r.low, .high = r.high});
  }
}

TEST(Elementwise, BinaryOpsBroadcast) {
  const std::pair<Shape, Shape> kPairs[] = {
      {{17}, {17}},        {{3, 17}, {17}},     {{3, 17}, {3, 1}},         {{64, 10}, {10}},
      {{64, 10}, {64, 1}}, {{}, {3, 5}},        {{2, 3, 40}, {3, 1}},      {{2, 3, 600}, {3, 1}},
      {{2, 1, 5}, {4, 1}}, {{4, 1000}, {1000}}, {{4, 1000}, {4, 1}},       {{5, 1, 7, 1}, {1, 3, 1, 9}},
      {{1}, {1}},          {{1, 1}, {3}},       {{2, 3, 4, 5}, {3, 4, 1}}, {{0, 3}, {3}}};
  for (Op op = Op::kAdd; op < Op::kSelect; op = static_cast<Op>(static_cast<int>(op) + 1)) {
    for (const auto& [a, b] : kPairs) {
      for (const DType t : {DType::kF32, DType::kI32, DType::kI64, DType::kF64}) {
        if (op == Op::kPow && !IsFloat(t)) continue;
        const bool logic = op == Op::kAnd || op == Op::kOr;
        Graph g;
        const DType type = logic ? DType::kBool : t;
        Value y = Binary(op, g.AddInput("a", type, a), g.AddInput("b", type, b));
        g.MarkOutput("y", y);
        SCOPED_TRACE(absl::StrCat(OpName(op), " ", ShapeString(a), " ", ShapeString(b), " ", DTypeName(type)));
        // Integers from 1: nothing divides by zero.
        ExpectMatchesReference(op == Op::kDiv && !IsFloat(t) ? [&, a = a, b = b] {
          Graph h;
          Value p = h.AddInput("a", t, a), q = h.AddInput("b", t, b);
          h.MarkOutput("y", p / (q + 1));
          return h;
        }() : std::move(g), {.tolerance = 1e-6, .special = t == DType::kF32 && a.size() == 2 && op != Op::kPow});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Elementwise, CastsAndSelect) {
  for (const DType from : {DType::kBool, DType::kU8, DType::kI32, DType::kI64, DType::kF32, DType::kF64}) {
    for (const DType to : {DType::kBool, DType::kU8, DType::kI32, DType::kI64, DType::kF32, DType::kF64}) {
      Graph g;
      g.MarkOutput("y", Cast(g.AddInput("x", from, {3, 170}), to));
      ExpectMatchesReference(g, {.limit = 200, .low = 0, .high = 200});
    }
  }
  for (const DType t : {DType::kF32, DType::kI64, DType::kBool}) {
    Graph g;
    g.MarkOutput("y",
                 Select(g.AddInput("c", DType::kBool, {4, 1, 9}), g.AddInput("a", t, {3, 9}), g.AddInput("b", t, {1})));
    ExpectMatchesReference(g, {.special = true});
  }
}

// A program by hand: two inputs spread over the space, every kind of result.
FusedAttrs Program(const Shape& space, int row_axes, const Shape& rows, const Shape& columns) {
  FusedAttrs at;
  at.code = {{Op::kMul, 0, 1}, {Op::kAdd, 3, 2}, {Op::kTanh, 4}, {Op::kLess, 5, 0}, {Op::kSub, 3, 5}};
  using S = FusedAttrs::Store;
  at.results = {{5, S::kFull}, {6, S::kFull}, {5, S::kSumAll}, {7, S::kSumRows}, {5, S::kSumColumns}};
  at.types = {DType::kF32, DType::kBool, DType::kF32, DType::kF32, DType::kF32};
  at.shapes = {space, space, {}, rows, columns};
  at.space = space;
  at.row_axes = row_axes;
  return at;
}

TEST(Fused, EverySpreadAndResult) {
  struct Case {
    Shape space;
    int row_axes;
    Shape rows, columns, b, c;
  };
  const Case kCases[] = {
      {{64, 10}, 1, {64}, {10}, {10}, {64, 1}},
      {{3, 1000}, 1, {3}, {1000}, {1000}, {3, 1}},
      {{700, 33}, 1, {700}, {33}, {}, {700, 33}},
      {{5000, 16}, 1, {5000}, {16}, {16}, {}},
      {{4, 5, 6}, 1, {4}, {5, 6}, {6}, {5, 1}},
      {{4, 5, 600}, 2, {4, 5}, {600}, {5, 1}, {4, 1, 1}},
      {{4, 5, 6}, 2, {4, 5}, {6}, {4, 1, 6}, {5, 1}},
      {{9, 1}, 1, {9}, {1}, {1}, {9, 1}},
      {{1, 40000}, 1, {1}, {40000}, {40000}, {1, 1}},
      {{300, 130}, 1, {300}, {130}, {130}, {300, 1}},
      {{2, 30, 7, 11}, 2, {2, 30}, {7, 11}, {7, 1}, {30, 1, 1}},
  };
  for (const Case& c : kCases) {
    Graph g;
    const Value in[] = {g.AddInput("a", DType::kF32, c.space), g.AddInput("b", DType::kF32, c.b),
                        g.AddInput("c", DType::kF32, c.c)};
    FusedAttrs at = Program(c.space, c.row_axes, c.rows, c.columns);
    std::vector<ValueInfo> out;
    for (size_t i = 0; i < at.results.size(); ++i) out.push_back({at.types[i], at.shapes[i]});
    const std::vector<Value> y = g.AddNode(Op::kFused, at, in, std::move(out));
    for (const Value& v : y) g.MarkOutput("y", v);
    SCOPED_TRACE(ShapeString(c.space));
    // Sums of N terms round N times; comparisons may fall on either side only when exactly equal, which random floats
    // are not.
    ExpectMatchesReference(g, {.tolerance = 3e-6, .scale = 30});
    if (HasFatalFailure()) return;
  }
}

TEST(Fused, WritesVariablesInPlace) {
  // w' = w - 0.1 m', m' = 0.9 m + g: m is read before m' is written, w after.
  for (const int64_t n : {1, 17, 5000, 100000}) {
    Graph g;
    VariableInfo w{"w", DType::kF32, {n}}, m{"m", DType::kF32, {n}};
    const Value wv = g.AddVariable(w), mv = g.AddVariable(m), grad = g.AddInput("g", DType::kF32, {n});
    Graph plain;
    {
      const Value w2 = plain.AddVariable(w), m2 = plain.AddVariable(m), g2 = plain.AddInput("g", DType::kF32, {n});
      const Value next = m2 * 0.9 + g2;
      plain.Assign(1, next);
      plain.Assign(0, w2 - next * 0.1);
      plain.MarkOutput("sum", SumAll(w2));
    }
    FusedAttrs at;
    at.code = {{Op::kMul, 1, 3}, {Op::kAdd, 5, 2}, {Op::kMul, 6, 4}, {Op::kSub, 0, 7}};
    at.results = {{6, FusedAttrs::Store::kFull, 1}, {8, FusedAttrs::Store::kFull, 0}};
    at.types = {DType::kF32, DType::kF32};
    at.shapes = {{n}, {n}};
    at.space = {n};
    const Value in[] = {wv, mv, grad, Scalar(&g, 0.9), Scalar(&g, 0.1)};
    g.AddNode(Op::kFused, at, in, {});
    g.MarkOutput("sum", SumAll(wv));
    ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 100, .allow_reference = true}, 1, &plain);
  }
}

}  // namespace
}  // namespace strata
