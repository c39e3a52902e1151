// The graph's part of DenseFeatures: numbers and ids become one row. Texts, vocabularies and hashes are the input
// stage's (engine/features.h), which gives this layer one argument for each column.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/feature_columns.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

int64_t SizeOf(const v1::NumericColumn& a) {
  int64_t size = 1;
  for (int64_t d : a.shape()) size *= d;
  return size;
}

Value Numeric(Scope& s, const v1::NumericColumn& a, Value x) {
  const int64_t rows = x.shape().empty() ? 1 : x.dim(0);
  if (NumElements(x.shape()) != rows * SizeOf(a)) {
    return s.Fail(absl::StrCat(a.key(), ": must have ", SizeOf(a), " numbers a sample, got ", ShapeString(x.shape())));
  }
  return Reshape(Cast(x, DType::kF32), {rows, SizeOf(a)});
}

// One-hot of the interval, closed on the left.
Value Bucketized(Scope& s, const v1::BucketizedColumn& a, Value x) {
  if (!a.source_column().has_numeric()) return s.Fail("source_column: must be numeric, got another column");
  const Value values = ExpandDims(Numeric(s, a.source_column().numeric(), x), -1);
  if (!s.ok()) return values;
  const int n = a.boundaries_size();
  std::vector<Value> cells;
  for (int i = 0; i <= n; ++i) {
    if (i > 1 && i < n + 1 && a.boundaries(i - 1) <= a.boundaries(i - 2)) {
      return s.Fail(absl::StrCat("boundaries[", i - 1, "]: must be above the one before, got ", a.boundaries(i - 1)));
    }
    const Value above = i == 0 ? Value{} : GreaterEqual(values, Like(values, a.boundaries(i - 1)));
    const Value below = i == n ? Value{} : Less(values, Like(values, a.boundaries(i)));
    const Value inside = i == 0 ? below : i == n ? above : And(above, below);
    cells.push_back(Cast(inside, DType::kF32));
  }
  return Reshape(Concat(cells, -1), {values.dim(0), -1});
}

// Ids [N, K] with -1 for missing ones.
Value Ids(Scope& s, const std::string& name, Value ids) {
  if (IsFloat(ids.dtype())) return s.Fail(absl::StrCat(name, ": must be ids, got ", DTypeName(ids.dtype())));
  if (ids.shape().empty()) return s.Fail(absl::StrCat(name, ": must have a batch axis, got a scalar"));
  return Reshape(ids, {ids.dim(0), -1});
}

// How often each id occurs in a row.
Value Counts(Value ids, int64_t buckets) {
  const Value cells = Iota(ids.graph, {1, 1, buckets}, 2, ids.dtype());
  return ReduceSum(Cast(Equal(ExpandDims(ids, -1), cells), DType::kF32), {1});
}

Value Embedded(Scope& s, const v1::EmbeddingColumn& a, const std::string& name, int64_t buckets, Value ids) {
  const auto start = a.has_initializer() ? a.initializer() : [&] {
    v1::Initializer normal;
    normal.mutable_truncated_normal()->set_mean(0);
    normal.mutable_truncated_normal()->set_stddev(1 / std::sqrt(static_cast<double>(a.dimension())));
    return normal;
  }();
  const Value table = s.Param(absl::StrCat(name, "/embedding_weights"), {buckets, a.dimension()},
                              {.initializer = start, .trainable = a.trainable()});
  const Value present = GreaterEqual(ids, Like(ids, 0));
  Value rows = Gather(table, Select(present, ids, Like(ids, 0)));
  if (a.has_max_norm()) {
    const Value norm = Sqrt(ReduceSum(Square(rows), {2}, true));
    const Value too_long = Greater(norm, Like(norm, a.max_norm()));
    // The root of a zero row has no gradient: it is not divided by.
    rows = Select(too_long, rows * (a.max_norm() / Select(too_long, norm, Like(norm, 1))), rows);
  }
  const Value weight = ExpandDims(Cast(present, DType::kF32), -1);
  Value sum = ReduceSum(Select(ExpandDims(present, -1), rows, Like(rows, 0)), {1});
  if (a.combiner() == "sum") return sum;
  const Value count = Max(ReduceSum(weight, {1}), 1.0);
  return sum / (a.combiner() == "sqrtn" ? Sqrt(count) : count);
}

Outputs BuildDenseFeatures(Scope& s, const v1::DenseFeatures& a, const Args& args) {
  const auto columns = SortedColumns(a);
  if (!columns.ok()) return {s.Fail(std::string(columns.status().message()))};
  if (args.size() != columns->size()) {
    return {s.Fail(absl::StrCat("inputs: must be one for each of ", columns->size(), " columns, got ", args.size()))};
  }
  std::vector<Value> parts;
  for (size_t i = 0; i < columns->size(); ++i) {
    const v1::FeatureColumn& column = *(*columns)[i];
    if (column.has_numeric()) {
      parts.push_back(Numeric(s, column.numeric(), args[i]));
    } else if (column.has_bucketized()) {
      parts.push_back(Bucketized(s, column.bucketized(), args[i]));
    } else {
      const std::string name = ColumnName(column);
      const auto buckets = NumBuckets(*CategoricalPart(column));
      if (!buckets.ok()) return {s.Fail(absl::StrCat(name, ".", std::string(buckets.status().message())))};
      const Value ids = Ids(s, name, args[i]);
      if (!s.ok()) return {ids};
      s.Require(Less(ids, Like(ids, static_cast<double>(*buckets))), absl::StrCat(name, ": ids must be < ", *buckets));
      parts.push_back(column.has_indicator() ? Counts(ids, *buckets)
                                             : Embedded(s, column.embedding(), name, *buckets, ids));
    }
    if (!s.ok()) return {parts.back()};
  }
  return {Concat(parts, -1)};
}

}  // namespace

Components DenseFeatures() {
  return Layer<v1::DenseFeatures>("dense_features", &BuildDenseFeatures)
      .Shapes("features by name -> y[N, width]")
      .Inputs(1, -1)
      .With("feature_columns { numeric { key: 'a' shape: 3 } } feature_columns { numeric { key: 'b' } }",
            {{2, 3}, {2, 1}})
      .With({.attrs = "feature_columns { bucketized { source_column { numeric { key: 'a' shape: 2 } } boundaries: [-1, "
                      "0.5] } }",
             .inputs = {{3, 2}},
             .no_gradient = "steps"})
      .With({.attrs = "feature_columns { embedding { categorical_column { identity { key: 'k' num_buckets: 5 } } "
                      "dimension: 3 combiner: 'sqrtn' } }",
             .inputs = {{3, 4}},
             .ids_below = 5})
      .With({.attrs =
                 "feature_columns { embedding { categorical_column { hash_bucket { key: 'k' hash_bucket_size: 7 dtype: "
                 "'int64' } } "
                 "dimension: 2 max_norm: 0.3 } }",
             .inputs = {{1, 5}},
             .ids_below = 7})
      .With({.attrs = "feature_columns { indicator { categorical_column { identity { key: 'k' num_buckets: 4 } } } }",
             .inputs = {{2, 3}},
             .no_gradient = "counts",
             .ids_below = 4});
}

}  // namespace strata::nn
