// Ids of categorical columns, row by row, as TensorFlow's feature columns give them. Internal to features.cc.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/features.h"

namespace strata {

// Texts (numbers as decimal text) of a column's vocabularies to ids; keys carry the feature's name before a zero byte.
using Vocabulary = std::map<std::string, int64_t, std::less<>>;
void AddVocabularies(const v1::FeatureColumn& column, Vocabulary* vocabulary);

// The ids of each row; missing values are left out. A value that is not listed has the column's default, perhaps -1.
absl::StatusOr<std::vector<std::vector<int64_t>>> CategoricalIds(const v1::FeatureColumn& column,
                                                                 const Features& features,
                                                                 const Vocabulary& vocabulary);

}  // namespace strata
