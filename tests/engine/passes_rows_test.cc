#include "tests/engine/passes_support.h"

namespace strata {
namespace {

std::vector<bool> Batched(const Graph& g, int64_t rows) {
  std::vector<bool> batched;
  for (const NamedValue& in : g.inputs()) {
    const Shape& shape = g.info(in.value).shape;
    batched.push_back(!shape.empty() && shape[0] == rows && in.name != "w");
  }
  return batched;
}

int64_t RowsOf(const RefTensor& t) { return static_cast<int64_t>(t.data.size()) / t.shape[0]; }

// Ranges of rows, computed by a cut graph each, are the rows of the whole, and the last `sums` outputs its summands.
void ExpectPartsAreTheWhole(const Graph& g, int64_t rows, const std::vector<int64_t>& parts, size_t sums = 0) {
  ASSERT_TRUE(g.ok()) << g.status();
  std::mt19937 rng(7);
  std::vector<RefTensor> inputs;
  for (const NamedValue& in : g.inputs()) {
    inputs.push_back(ToRef(RandomTensor(g.info(in.value).dtype, g.info(in.value).shape, &rng, {.limit = 5}).view()));
  }
  const std::vector<bool> batched = Batched(g, rows);
  const std::vector<RefTensor> whole = EvaluateReference(g, inputs);
  std::vector<double> summed(sums);
  int64_t first = 0;
  for (const int64_t count : parts) {
    std::string why;
    const std::optional<Graph> cut = CutRows(g, batched, sums, count, &why);
    ASSERT_TRUE(cut.has_value()) << why << "\n" << ToText(g);
    ASSERT_TRUE(Verify(*cut).ok()) << Verify(*cut);
    std::vector<RefTensor> some = inputs;
    for (size_t i = 0; i < some.size(); ++i) {
      if (!batched[i]) continue;
      const int64_t row = RowsOf(inputs[i]);
      some[i].shape[0] = count;
      some[i].data.assign(inputs[i].data.begin() + first * row, inputs[i].data.begin() + (first + count) * row);
    }
    const std::vector<RefTensor> got = EvaluateReference(*cut, some);
    for (size_t i = 0; i < sums; ++i) summed[i] += got[got.size() - sums + i].data[0];
    for (size_t i = 0; i < got.size() - sums; ++i) {
      const int64_t row = RowsOf(whole[i]);
      for (size_t k = 0; k < got[i].data.size(); ++k) {
        ASSERT_EQ(got[i].data[k], whole[i].data[static_cast<size_t>(first * row) + k]) << "output " << i << " at " << k;
      }
    }
    first += count;
  }
  EXPECT_EQ(first, rows);
  for (size_t i = 0; i < sums; ++i) EXPECT_EQ(summed[i], whole[whole.size() - sums + i].data[0]);
}

void ExpectRefused(const Graph& g, int64_t rows, const std::string& words) {
  std::string why;
  EXPECT_FALSE(CutRows(g, Batched(g, rows), 0, 2, &why).has_value());
  EXPECT_NE(why.find(words), std::string::npos) << why;
}

TEST(CutRows, Dense) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {7, 5}), w = g.AddInput("w", DType::kF32, {5, 7});
  const Value b = g.AddInput("w", DType::kF32, {7});  // as long as there are rows, but no rows
  g.MarkOutput("y", Softmax(Relu(MatMul(x, w) + b), -1));
  ExpectPartsAreTheWhole(g, 7, {3, 4});
  const absl::StatusOr<Graph> fused = Optimize(Prune(g));
  ASSERT_TRUE(fused.ok());
  ExpectPartsAreTheWhole(*fused, 7, {1, 6});
}

TEST(CutRows, ImagesAndPools) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {6, 5, 5, 3}), w = g.AddInput("w", DType::kF32, {3, 3, 3, 4});
  const Value y = Conv(x, w, {{1, 1}, {1, 1}, {1, 1}, {1, 1}});
  const PoolAttrs::Axis axis{{0, 2}, {2, 3}};
  const Value pooled = MaxPool(Relu(y), {{axis, axis}}).y;
  g.MarkOutput("y", Reshape(pooled, {6, -1}));
  g.MarkOutput("z", ReduceMean(Transpose(pooled, {0, 3, 1, 2}), {2, 3}));
  ExpectPartsAreTheWhole(g, 6, {2, 4});
}

// Rows become blocks of rows, and entries of a batch of products.
TEST(CutRows, Attention) {
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {4, 3, 8}), w = g.AddInput("w", DType::kF32, {8, 8});
  const Value q = Reshape(MatMul(Reshape(x, {12, 8}), w), {4, 3, 2, 4});
  const Value heads = Transpose(q, {0, 2, 1, 3});
  const Value scores = Softmax(MatMul(heads, heads, false, true), -1);
  g.MarkOutput("y", Reshape(Transpose(MatMul(scores, heads), {0, 2, 1, 3}), {4, 24}));
  ExpectPartsAreTheWhole(g, 4, {1, 3});
}

TEST(CutRows, Scans) {
  Graph g, body;
  const Value x = g.AddInput("x", DType::kF32, {5, 6, 3}), w = g.AddInput("w", DType::kF32, {3, 3});
  const Value h = body.AddInput("h", DType::kF32, {5, 3}), xt = body.AddInput("x", DType::kF32, {5, 3});
  const Value wt = body.AddInput("w", DType::kF32, {3, 3});
  const Value next = Tanh(MatMul(h, wt) + xt);
  body.MarkOutput("h", next);
  body.MarkOutput("y", next * 2);
  const Value carry[] = {Full(&g, 0.5, {5, 3})}, sequences[] = {Transpose(x, {1, 0, 2})}, constants[] = {w};
  const ScanResult r = Scan(&g, std::move(body), carry, sequences, constants, false, 6);
  g.MarkOutput("last", r.carry[0]);
  g.MarkOutput("all", Transpose(r.sequences[0], {1, 0, 2}));
  ExpectPartsAreTheWhole(g, 5, {2, 3});
}

// What a batch must fulfil is counted over all rows: ids out of range, for one.
TEST(CutRows, Sums) {
  Graph g;
  const Value x = g.AddInput("x", DType::kI64, {6, 3}), w = g.AddInput("w", DType::kF32, {4, 2});
  g.MarkOutput("y", Reshape(Gather(w, Max(x, Like(x, 0))), {6, 6}));
  g.MarkOutput("violations", SumAll(Cast(Less(x, Like(x, 0)), DType::kF32)));
  ExpectPartsAreTheWhole(g, 6, {2, 4}, 1);
  const absl::StatusOr<Graph> optimized = Optimize(Prune(g));
  ASSERT_TRUE(optimized.ok());
  ExpectPartsAreTheWhole(*optimized, 6, {1, 5}, 1);
  ExpectRefused(g, 6, "has no rows of its own");
}

TEST(CutRows, RowsThatMeet) {
  for (int i = 0; i < 5; ++i) {
    Graph g;
    const Value x = g.AddInput("x", DType::kF32, {4, 4}), w = g.AddInput("w", DType::kF32, {4, 4});
    const Value y = i == 0   ? x - ReduceMean(x, {0}, true)
                    : i == 1 ? MatMul(x, x)
                    : i == 2 ? MatMul(w, x)
                    : i == 3 ? x + Transpose(x, {1, 0})
                             : Softmax(Transpose(x, {1, 0}), -1);
    g.MarkOutput("y", y);
    ExpectRefused(g, 4, "rows meet");
  }
  Graph g;
  const Value x = g.AddInput("x", DType::kF32, {4, 3});
  g.MarkOutput("x", x);
  g.MarkOutput("of all", ReduceSum(g.AddInput("w", DType::kF32, {4, 3}), {0}));
  ExpectRefused(g, 4, "has no rows of its own");
}

}  // namespace
}  // namespace strata
