// What metrics share: weighted means, and operands that fit each other.
#pragma once

#include <span>

#include "engine/nn/metrics/metric.h"

namespace strata::nn {

double Divide(double a, double b);  // 0 where b is 0
// sums[0] / sums[1], 0 where nothing was counted.
double Ratio(std::span<const double> sums);

Value AsFloat(Value v);

// `weight` [N] over the axes of `shape`, broadcast to it; 1 everywhere if it is empty. Fails where it does not fit.
Value SpreadWeight(Scope& s, Value weight, const Shape& shape);
// The weighted mean of `values`, whose first axis is the batch.
MetricTerms MeanOf(Scope& s, Value values, Value weight);

// Whether the two broadcast; fails otherwise.
bool CheckFit(Scope& s, Value target, Value prediction);
// Lines up (N,) with (N, 1).
void Squeeze(Value* target, Value* prediction);

}  // namespace strata::nn
