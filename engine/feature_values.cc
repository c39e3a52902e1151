#include "engine/feature_values.h"

#include <farmhash.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/nn/layers/feature_columns.h"

namespace strata {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

// TensorFlow's start of the hash of a cross.
constexpr uint64_t kCrossKey = 0xDECAFCAFFE;
// A cross with more combinations in a row than this is refused.
constexpr size_t kMaxCombinations = 1 << 16;

uint64_t ShiftMix(uint64_t v) { return v ^ (v >> 47); }

// TensorFlow's FingerprintCat64.
uint64_t Concatenated(uint64_t a, uint64_t b) {
  constexpr uint64_t kMul = 0xc6a4a7935bd1e995;
  uint64_t result = a ^ kMul;
  result ^= ShiftMix(b * kMul) * kMul;
  result *= kMul;
  result = ShiftMix(result) * kMul;
  return ShiftMix(result);
}

std::string VocabularyKey(const std::string& feature, std::string_view text) {
  return absl::StrCat(feature, std::string(1, '\0'), absl::string_view(text.data(), text.size()));
}

// Where a feature stands in its batch: errors begin with it, callers put the batch's name before.
std::string At(const std::string& key) { return absl::StrCat("[\"", key, "\"]"); }

absl::StatusOr<const Feature*> Find(const Features& features, const std::string& key) {
  const auto it = features.find(key);
  if (it == features.end()) return InvalidArgument(At(key), ": must be given, got nothing");
  if (it->second.shape.empty()) return InvalidArgument(At(key), ": must have a batch axis, got a scalar");
  return &it->second;
}

// Calls f(row, index of the element) for every element.
template <typename F>
absl::Status ForEach(const Feature& feature, Rows* rows, F f) {
  const int64_t n = feature.shape[0], count = NumElements(feature.shape), width = n == 0 ? 0 : count / n;
  rows->resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < count; ++i) STRATA_RETURN_IF_ERROR(f(&(*rows)[static_cast<size_t>(i / width)], i));
  return absl::OkStatus();
}

int64_t WholeNumber(const TensorView& t, int64_t i) {
  if (t.dtype == DType::kI64) return t.as<int64_t>()[i];
  if (t.dtype == DType::kI32) return t.as<int32_t>()[i];
  return static_cast<int64_t>(
      Cast({t.dtype, {1}, static_cast<const char*>(t.data) + i * SizeOf(t.dtype)}, DType::kI64).data<int64_t>()[0]);
}

absl::Status CheckWholeNumbers(const std::string& key, const Feature& feature) {
  if (feature.is_text) return InvalidArgument(At(key), ": must be whole numbers, got texts");
  if (IsFloat(feature.numbers.dtype)) {
    return InvalidArgument(At(key), ": must be whole numbers, got ", DTypeName(feature.numbers.dtype));
  }
  return absl::OkStatus();
}

absl::StatusOr<Rows> IdentityIds(const v1::IdentityColumn& a, const Features& features) {
  STRATA_ASSIGN_OR_RETURN(const Feature* feature, Find(features, a.key()));
  STRATA_RETURN_IF_ERROR(CheckWholeNumbers(a.key(), *feature));
  Rows rows;
  STRATA_RETURN_IF_ERROR(ForEach(*feature, &rows, [&](std::vector<int64_t>* row, int64_t i) -> absl::Status {
    int64_t id = WholeNumber(feature->numbers, i);
    if (id == -1) return absl::OkStatus();  // missing
    if (id < 0 || id >= a.num_buckets()) {
      if (!a.has_default_value()) {
        return InvalidArgument(At(a.key()), ": ids must be in [0, ", a.num_buckets(), "), got ", id);
      }
      id = a.default_value();
    }
    row->push_back(id);
    return absl::OkStatus();
  }));
  return rows;
}

// Texts as they are, whole numbers in decimal. Missing values are left out.
template <typename F>
absl::StatusOr<Rows> MapTexts(const std::string& key, bool numbers, const Features& features, F id_of) {
  STRATA_ASSIGN_OR_RETURN(const Feature* feature, Find(features, key));
  if (numbers) STRATA_RETURN_IF_ERROR(CheckWholeNumbers(key, *feature));
  if (!numbers && !feature->is_text) {
    return InvalidArgument(At(key), ": must be texts, got ", DTypeName(feature->numbers.dtype));
  }
  Rows rows;
  STRATA_RETURN_IF_ERROR(ForEach(*feature, &rows, [&](std::vector<int64_t>* row, int64_t i) -> absl::Status {
    if (!numbers) {
      if (!feature->texts[i].empty()) row->push_back(id_of(feature->texts[i]));
      return absl::OkStatus();
    }
    const int64_t number = WholeNumber(feature->numbers, i);
    if (number != -1) row->push_back(id_of(absl::StrCat(number)));
    return absl::OkStatus();
  }));
  return rows;
}

absl::StatusOr<Rows> VocabularyIds(const v1::VocabularyListColumn& a, const Features& features,
                                   const Vocabulary& vocabulary) {
  const bool numbers = !a.vocabulary_numbers().empty();
  const int64_t size = std::max(a.vocabulary_list_size(), a.vocabulary_numbers_size());
  return MapTexts(a.key(), numbers, features, [&](std::string_view text) -> int64_t {
    const auto it = vocabulary.find(VocabularyKey(a.key(), text));
    if (it != vocabulary.end()) return it->second;
    if (a.num_oov_buckets() == 0) return a.default_value();
    const uint64_t hash = util::Fingerprint64(text.data(), text.size());
    return size + static_cast<int64_t>(hash % static_cast<uint64_t>(a.num_oov_buckets()));
  });
}

absl::StatusOr<Rows> HashIds(const v1::HashBucketColumn& a, const Features& features) {
  return MapTexts(a.key(), a.dtype() != "string", features, [&](std::string_view text) {
    const uint64_t hash = util::Fingerprint64(text.data(), text.size());
    return static_cast<int64_t>(hash % static_cast<uint64_t>(a.hash_bucket_size()));
  });
}

// A number's interval; that of element d of a sample's value is d * intervals further.
absl::StatusOr<Rows> BucketIds(const v1::BucketizedColumn& a, const Features& features) {
  const std::string& key = a.source_column().numeric().key();
  STRATA_ASSIGN_OR_RETURN(const Feature* feature, Find(features, key));
  if (feature->is_text) return InvalidArgument(At(key), ": must be numbers, got texts");
  const Tensor values = Cast(feature->numbers, DType::kF32);
  Rows rows;
  STRATA_RETURN_IF_ERROR(ForEach(*feature, &rows, [&](std::vector<int64_t>* row, int64_t i) -> absl::Status {
    const auto above = std::upper_bound(a.boundaries().begin(), a.boundaries().end(), values.data<float>()[i],
                                        [](float v, double b) { return v < static_cast<float>(b); });
    const int64_t interval = above - a.boundaries().begin();
    row->push_back(interval + static_cast<int64_t>(row->size()) * (a.boundaries_size() + 1));
    return absl::OkStatus();
  }));
  return rows;
}

// Parts of a cross, those of inner crosses in place: first the columns, then the plain features, as TensorFlow's kernel
// takes them.
void Parts(const v1::CrossedColumn& cross, std::vector<const v1::CrossKey*>* columns,
           std::vector<const v1::CrossKey*>* plain) {
  for (const v1::CrossKey& key : cross.keys()) {
    if (key.has_column() && key.column().has_crossed()) {
      Parts(key.column().crossed(), columns, plain);
    } else {
      (key.has_column() ? columns : plain)->push_back(&key);
    }
  }
}

// What a part contributes to each row: hashes of texts, and numbers as they are. Here an empty text counts.
absl::StatusOr<Rows> PartValues(const v1::CrossKey& part, const Features& features, const Vocabulary& vocabulary) {
  if (part.has_column()) return CategoricalIds(part.column(), features, vocabulary);
  STRATA_ASSIGN_OR_RETURN(const Feature* feature, Find(features, part.key()));
  if (!feature->is_text) STRATA_RETURN_IF_ERROR(CheckWholeNumbers(part.key(), *feature));
  Rows rows;
  STRATA_RETURN_IF_ERROR(ForEach(*feature, &rows, [&](std::vector<int64_t>* row, int64_t i) -> absl::Status {
    row->push_back(feature->is_text
                       ? static_cast<int64_t>(util::Fingerprint64(feature->texts[i].data(), feature->texts[i].size()))
                       : WholeNumber(feature->numbers, i));
    return absl::OkStatus();
  }));
  return rows;
}

absl::StatusOr<Rows> CrossIds(const v1::CrossedColumn& a, const Features& features, const Vocabulary& vocabulary) {
  std::vector<const v1::CrossKey*> parts, plain;
  Parts(a, &parts, &plain);
  parts.insert(parts.end(), plain.begin(), plain.end());
  Rows rows;
  std::vector<std::vector<uint64_t>> hashes;
  for (size_t p = 0; p < parts.size(); ++p) {
    STRATA_ASSIGN_OR_RETURN(const Rows values, PartValues(*parts[p], features, vocabulary));
    if (p == 0) hashes.assign(values.size(), {a.has_hash_key() ? a.hash_key() : kCrossKey});
    if (values.size() != hashes.size()) {
      return InvalidArgument(At(parts[p]->has_column() ? nn::ColumnName(parts[p]->column()) : parts[p]->key()),
                             ": must have ", hashes.size(), " rows like the other features, got ", values.size());
    }
    for (size_t i = 0; i < values.size(); ++i) {
      std::vector<uint64_t> next;
      if (hashes[i].size() * values[i].size() > kMaxCombinations) {
        return InvalidArgument(": must make at most ", kMaxCombinations,
                               " combinations a row of a crossed column, got more");
      }
      for (uint64_t h : hashes[i]) {
        for (int64_t v : values[i]) next.push_back(Concatenated(h, static_cast<uint64_t>(v)));
      }
      hashes[i] = std::move(next);
    }
  }
  for (const auto& row : hashes) {
    auto& ids = rows.emplace_back();
    for (uint64_t h : row) ids.push_back(static_cast<int64_t>(h % static_cast<uint64_t>(a.hash_bucket_size())));
  }
  return rows;
}

}  // namespace

void AddVocabularies(const v1::FeatureColumn& column, Vocabulary* vocabulary) {
  if (column.has_vocabulary_list()) {
    const auto& a = column.vocabulary_list();
    for (int i = 0; i < a.vocabulary_list_size(); ++i) {
      vocabulary->emplace(VocabularyKey(a.key(), a.vocabulary_list(i)), i);
    }
    for (int i = 0; i < a.vocabulary_numbers_size(); ++i) {
      vocabulary->emplace(VocabularyKey(a.key(), absl::StrCat(a.vocabulary_numbers(i))), i);
    }
  }
  if (!column.has_crossed()) return;
  for (const v1::CrossKey& key : column.crossed().keys()) {
    if (key.has_column()) AddVocabularies(key.column(), vocabulary);
  }
}

absl::StatusOr<Rows> CategoricalIds(const v1::FeatureColumn& column, const Features& features,
                                    const Vocabulary& vocabulary) {
  switch (column.kind_case()) {
    case v1::FeatureColumn::kIdentity:
      return IdentityIds(column.identity(), features);
    case v1::FeatureColumn::kVocabularyList:
      return VocabularyIds(column.vocabulary_list(), features, vocabulary);
    case v1::FeatureColumn::kHashBucket:
      return HashIds(column.hash_bucket(), features);
    case v1::FeatureColumn::kBucketized:
      return BucketIds(column.bucketized(), features);
    case v1::FeatureColumn::kCrossed:
      return CrossIds(column.crossed(), features, vocabulary);
    default:
      return InvalidArgument(": categorical_column must be categorical, got ", nn::ColumnName(column));
  }
}

}  // namespace strata
