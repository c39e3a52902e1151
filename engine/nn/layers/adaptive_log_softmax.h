// Adaptive softmax (Grave et al. 2017): what its layer and its loss share.
#pragma once

#include "engine/nn/scope.h"
#include "strata/v1/common.pb.h"

namespace strata::nn {

struct AdaptiveOutputs {
  Value log_prob;  // [N, n_classes]
  Value predict;   // [N], i64
};

// Features of a cluster's projection; there may be none.
int64_t AdaptiveTailFeatures(const v1::AdaptiveLogSoftmax& a, int cluster);

// x [N, in_features]. Declares the weights head.weight, head.bias, tail.<i>.0.weight, tail.<i>.1.weight.
AdaptiveOutputs BuildAdaptiveLogSoftmax(Scope& s, const v1::AdaptiveLogSoftmax& a, Value x);

}  // namespace strata::nn
