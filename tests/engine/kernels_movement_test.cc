// Movement, reductions, softmax, rows and random numbers.
#include "engine/base/philox.h"
#include "tests/engine/kernels_support.h"

namespace strata {
namespace {

const DType kTypes[] = {DType::kF32, DType::kI64, DType::kBool, DType::kBF16};

void Check(const std::function<Value(Graph*, DType)>& build, CompareOptions o = {}) {
  for (const DType t : kTypes) {
    Graph g;
    g.MarkOutput("y", build(&g, t));
    ExpectMatchesReference(
        g, {.tolerance = t == DType::kBF16 ? 0.01 : o.tolerance, .scale = o.scale, .special = o.special});
  }
}

TEST(CopyKernel, Movement) {
  const auto in = [](Graph* g, DType t, Shape s) { return g->AddInput("x", t, std::move(s)); };
  for (const Shape& s : {Shape{3, 5, 7}, Shape{1, 33, 100}, Shape{17, 1, 40}, Shape{2, 64, 65}}) {
    for (const std::vector<int64_t>& p : {std::vector<int64_t>{0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {2, 0, 1}, {1, 2, 0}}) {
      Check([&](Graph* g, DType t) { return Transpose(in(g, t, s), p); });
    }
    Check([&](Graph* g, DType t) { return Slice(in(g, t, s), {0, 0, 3}, {1, 1, 4}); });
    Check([&](Graph* g, DType t) { return Slice(in(g, t, s), {0, 0, 1}, {1, 1, 3}, {1, 1, 2}); });
    Check([&](Graph* g, DType t) { return Pad(in(g, t, s), {1, 0, 2}, {0, 3, 1}, 1); });
    Check([&](Graph* g, DType t) { return Pad(in(g, t, s), {1, 0, -2}, {0, 3, -1}, 0); });
    Check([&](Graph* g, DType t) { return Reverse(in(g, t, s), {0, 2}); });
    Check([&](Graph* g, DType t) { return Reverse(in(g, t, s), {1}); });
    Check([&](Graph* g, DType t) { return Broadcast(in(g, t, s), {2, s[0], s[1], s[2]}); });
    Check([&](Graph* g, DType t) { return Broadcast(in(g, t, {s[0], 1, s[2]}), s); });
    Check([&](Graph* g, DType t) { return Broadcast(in(g, t, {s[1], 1}), s); });
    for (const int axis : {0, 1, 2}) {
      Check([&](Graph* g, DType t) {
        Shape other = s;
        other[axis] = 3;
        const Value xs[] = {in(g, t, s), g->AddInput("z", t, other), g->AddInput("u", t, s)};
        return Concat(xs, axis);
      });
    }
  }
  Check([&](Graph* g, DType t) { return Transpose(in(g, t, {2, 3, 4, 5}), {0, 2, 3, 1}); });
  Check([&](Graph* g, DType t) { return Transpose(in(g, t, {2, 300, 4, 5}), {0, 3, 1, 2}); });
  Check([&](Graph* g, DType t) { return Transpose(in(g, t, {3, 4, 5, 16, 17}), {4, 3, 2, 0, 1}); });
}

TEST(ReduceKernel, AnyAxes) {
  for (const Shape& s :
       {Shape{3, 5, 7}, Shape{33, 1, 100}, Shape{2, 3, 4}, Shape{5, 300, 17}, Shape{1, 1, 1}, Shape{64, 10, 1}}) {
    for (const std::vector<int64_t>& axes : {std::vector<int64_t>{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, {0, 1, 2}}) {
      for (const DType t : {DType::kF32, DType::kI64, DType::kF64}) {
        for (const Op op : {Op::kReduceSum, Op::kReduceMax, Op::kReduceMin}) {
          Graph g;
          const Value x = g.AddInput("x", t, s);
          g.MarkOutput("y", op == Op::kReduceSum   ? ReduceSum(x, axes)
                            : op == Op::kReduceMax ? ReduceMax(x, axes)
                                                   : ReduceMin(x, axes));
          SCOPED_TRACE(absl::StrCat(OpName(op), " ", ShapeString(s), " over ", ShapeString(axes), " ", DTypeName(t)));
          ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 50, .special = t == DType::kF32 && s[0] == 3});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  Graph g;
  g.MarkOutput("y", SumAll(g.AddInput("x", DType::kF32, {1000, 1001})));
  g.MarkOutput("none", ReduceMax(g.AddInput("z", DType::kF32, {3, 0}), {1}));
  ExpectMatchesReference(g, {.tolerance = 1e-6, .scale = 10});
}

TEST(ReduceKernel, ArgMax) {
  for (const Shape& s : {Shape{3, 5, 7}, Shape{64, 10, 1}, Shape{2, 300, 3}}) {
    for (const int axis : {0, 1, 2}) {
      for (const DType t : {DType::kF32, DType::kI32}) {
        Graph g;
        g.MarkOutput("y", ArgMax(g.AddInput("x", t, s), axis));
        ExpectMatchesReference(g, {.limit = 5, .special = s[0] == 3});
      }
    }
  }
}

TEST(SoftmaxKernel, Rows) {
  for (const Shape& s : {Shape{1}, Shape{64, 10}, Shape{3, 5, 17}, Shape{2, 1000}, Shape{300, 33}, Shape{4, 1}}) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, s);
    g.MarkOutput("softmax", Softmax(x, -1));
    g.MarkOutput("log", LogSoftmax(x, -1));
    ExpectMatchesReference(g, {.tolerance = 2e-6, .scale = 0.1, .low = -20, .high = 20});
  }
}

TEST(GatherKernel, RowsAndScatter) {
  for (const DType ids : {DType::kI32, DType::kI64}) {
    for (const Shape& table : {Shape{90, 16}, Shape{90}, Shape{120, 3, 5}, Shape{100, 1}}) {
      Graph g;
      const Value t = g.AddInput("t", DType::kF32, table), i = g.AddInput("i", ids, {33, 9});
      const Value y = Gather(t, i);
      g.MarkOutput("y", y);
      g.MarkOutput("dt", ScatterAdd(i, g.AddInput("dy", DType::kF32, y.shape()), table[0]));
      ExpectMatchesReference(g, {.scale = 20});  // ids up to 99: some lie outside the smaller tables
    }
  }
}

TEST(RandomKernel, BitsOfTheReference) {
  for (const int64_t n : {1, 3, 17, 100, 70000}) {
    Graph g;
    g.MarkOutput("y", RandomUniform(g.AddInput("state", DType::kI64, {2}), StreamHash("test"), {n}));
    ExpectMatchesReference(g, {.tolerance = 0});
  }
}

}  // namespace
}  // namespace strata
