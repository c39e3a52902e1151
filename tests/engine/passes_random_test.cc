// Random graphs through all passes and every option of the planner.
#include "tests/engine/passes_support.h"

namespace strata {
namespace {

constexpr int64_t kSizes[] = {1, 2, 3, 4, 8, 16, 17};

class RandomGraph {
 public:
  explicit RandomGraph(uint32_t seed) : rng_(seed) {}

  // A graph of some `steps` operations with outputs of all kinds; with `training`, gradients and updates too.
  Graph Build(int steps, bool training) {
    for (int i = 0; i < 3; ++i) values_.push_back(g_.AddInput(absl::StrCat("x", i), DType::kF32, RandomShape()));
    ids_ = g_.AddInput("ids", DType::kI64, {4});
    std::vector<Value> parameters;
    for (int i = 0; i < 2; ++i) {
      parameters.push_back(Parameter(&g_, absl::StrCat("w", i), RandomShape()));
      values_.push_back(parameters.back());
    }
    for (int i = 0; i < steps; ++i) values_.push_back(Step());
    const int outputs = 1 + Draw(3);
    for (int i = 0; i < outputs; ++i) {
      const Value y = Any();  // an output that is a variable itself would show what the step wrote
      g_.MarkOutput(absl::StrCat("y", i), training ? y - 1 : y);
    }
    if (training) {
      Value loss = MeanAll(values_.back());
      for (const Value& p : parameters) loss = loss + MeanAll(p * p) * 0.1;
      g_.MarkOutput("loss", loss);
      AddAdam(&g_, loss, parameters);
    }
    return std::move(g_);
  }

 private:
  int64_t Draw(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(rng_); }
  Value Any() { return values_[static_cast<size_t>(Draw(static_cast<int64_t>(values_.size())))]; }
  Shape RandomShape() {
    Shape s;
    for (int64_t d = 1 + Draw(3); d > 0; --d) s.push_back(kSizes[Draw(std::size(kSizes))]);
    return s;
  }

  Value Step() {
    const Value x = Any();
    switch (Draw(17)) {
      case 0:
        return Tanh(x);
      case 1:
        return Relu(x - 0.25);
      case 2:
        return Combine(x, Any());
      case 3: {
        Shape start, size, step;
        for (int64_t d : x.shape()) {
          start.push_back(Draw(2) == 0 ? 0 : Draw(d));
          step.push_back(Draw(4) == 0 ? 2 : 1);
          const int64_t most = (d - start.back() + step.back() - 1) / step.back();
          size.push_back(Draw(2) == 0 ? most : 1 + Draw(most));
        }
        return Slice(x, start, size, step);
      }
      case 4:
        return x.rank() < 2 ? x : Transpose(x, Shuffled(x.rank()));
      case 5:
        return Refold(x);
      case 6: {
        const Value parts[] = {x, Tanh(x), x};
        return x.num_elements() > 4000 ? x : Concat(parts, static_cast<int>(Draw(x.rank())));
      }
      case 7:
        return ReduceSum(x, {Draw(x.rank())}, true) * 0.1;
      case 8: {
        const std::vector<Value> parts = Split(x, 0, x.dim(0));
        return parts[Draw(static_cast<int64_t>(parts.size()))];
      }
      case 9:
        return Tanh(Product(x, Any()));
      case 10:
        return Softmax(x, -1);
      case 11:
        return LogSoftmax(x, -1) * 0.1;
      case 12:
        return Reverse(x, {Draw(x.rank())});
      case 13:
        return ReduceMax(x, {Draw(x.rank())}, true);
      case 14: {
        const Value rows = Reshape(x, {x.dim(0), -1});
        return rows.dim(1) > 64 || rows.dim(0) < 2 ? Sigmoid(x) : Gather(rows, ids_);
      }
      case 15:
        return Convolved(x);
      default: {
        std::vector<int64_t> lo, hi;
        for (int d = 0; d < x.rank(); ++d) {
          lo.push_back(Draw(3) == 0 ? 1 : 0);
          hi.push_back(Draw(3) == 0 ? 1 : 0);
        }
        return x.num_elements() > 4000 ? x : Pad(x, lo, hi, 0.5);
      }
    }
  }

  // As an image, by weights made of its first cells.
  Value Convolved(Value x) {
    if (x.num_elements() % 8 != 0 || x.num_elements() > 2000) return Tanh(x);
    const int64_t channels = Draw(2) == 0 ? 2 : 4, kernel = Draw(2) == 0 ? 1 : 2;
    const Value image = Reshape(x, {1, 2, x.num_elements() / 2 / channels, channels});
    const Value flat = Reshape(x, {-1});
    const int64_t size = kernel * kernel * channels * 2;
    if (flat.dim(0) < size) return Tanh(x);
    const ConvAttrs at{
        .stride = {1, 1 + Draw(2)}, .pad_lo = {kernel - 1, 0}, .pad_hi = {0, kernel - 1}, .dilation = {1, 1}};
    Value w = SliceAxis(flat, 0, 0, size);
    w = Draw(2) == 0 ? Reshape(w, {kernel, kernel, channels, 2})
                     : Transpose(Reshape(w, {2, channels, kernel, kernel}), {2, 3, 1, 0});
    return Tanh(Conv(image, w, at));
  }

  Value Combine(Value x, Value y) {
    if (!BroadcastShape(x.shape(), y.shape()).ok() || NumElements(*BroadcastShape(x.shape(), y.shape())) > 20000)
      y = ReduceMean(y, AllAxes(y));
    switch (Draw(4)) {
      case 0:
        return x + y;
      case 1:
        return x * Tanh(y);
      case 2:
        return Max(x, y);
      default:
        return x - y * 0.5;
    }
  }

  Value Product(Value x, Value y) {
    x = Reshape(x, {-1, x.dim(-1)});
    y = Reshape(y, {-1, y.dim(-1)});
    if (x.dim(0) * y.dim(0) > 20000) return Tanh(x);
    if (x.dim(1) == y.dim(1)) return MatMul(x, y, false, true);
    if (x.dim(1) == y.dim(0)) return MatMul(x, y);
    if (x.dim(0) == y.dim(0)) return MatMul(x, y, true);
    return Tanh(x);
  }

  // The same elements, in other axes.
  Value Refold(Value x) {
    int64_t rest = x.num_elements();
    Shape shape;
    for (const int64_t factor : {2, 3, 4}) {
      if (rest % factor != 0 || Draw(2) == 0) continue;
      shape.push_back(factor);
      rest /= factor;
    }
    shape.insert(shape.begin() + Draw(static_cast<int64_t>(shape.size()) + 1), rest);
    return Reshape(x, shape);
  }

  std::vector<int64_t> Shuffled(int64_t rank) {
    std::vector<int64_t> p(static_cast<size_t>(rank));
    for (int64_t i = 0; i < rank; ++i) p[i] = i;
    std::shuffle(p.begin(), p.end(), rng_);
    return p;
  }

  std::mt19937 rng_;
  Graph g_;
  std::vector<Value> values_;
  Value ids_;
};

// Chains of many operations: rounding adds up, kinks of max and relu are rarely met.
constexpr CompareOptions kOptions{.tolerance = 2e-4, .exact_threads = false, .limit = 2};

TEST(RandomGraphs, PlansMatchTheReference) {
  for (uint32_t seed = 1; seed <= 400; ++seed) {
    const Graph g = RandomGraph(seed).Build(12, seed % 3 == 0);
    ASSERT_NO_FATAL_FAILURE(ExpectMatchesReference(g, kOptions, seed));
  }
}

TEST(RandomGraphs, PassesKeepTheMeaning) {
  for (uint32_t seed = 1; seed <= 600; ++seed) {
    const Graph g = RandomGraph(1000 + seed).Build(20, seed % 2 == 0);
    ASSERT_TRUE(g.ok()) << g.status();
    const absl::StatusOr<Graph> optimized = Optimize(Prune(g));
    ASSERT_TRUE(optimized.ok()) << optimized.status() << ToText(g);
    ASSERT_NO_FATAL_FAILURE(ExpectMatchesReference(*optimized, kOptions, seed, &g));
  }
}

}  // namespace
}  // namespace strata
