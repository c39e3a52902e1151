#include "cli/dataset.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "cli/idx.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

absl::StatusOr<IdxFile> ReadEither(const std::string& stem) {
  auto compressed = ReadIdx(stem + ".gz");
  if (compressed.ok() || !absl::IsNotFound(compressed.status())) return compressed;
  auto plain = ReadIdx(stem);
  return plain.ok() ? std::move(plain) : std::move(compressed);
}

// A fixed generator: the order of an epoch is the same on every platform and in every build.
uint64_t SplitMix64(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void SetShape(v1::Tensor* tensor, int64_t num_rows, std::span<const int64_t> rest) {
  tensor->clear_shape();
  tensor->add_shape(num_rows);
  for (int64_t size : rest) tensor->add_shape(size);
}

// The float of each pixel, computed as NumPy's `x.astype("float32") / 255` does.
const std::array<float, 256>& PixelTable() {
  static constexpr auto kTable = [] {
    std::array<float, 256> table{};
    for (int i = 0; i < 256; ++i) table[i] = static_cast<float>(i) / 255.0f;
    return table;
  }();
  return kTable;
}

}  // namespace

int64_t Dataset::sample_size() const {
  return std::accumulate(sample_shape.begin(), sample_shape.end(), int64_t{1}, std::multiplies<>());
}

absl::StatusOr<Dataset> LoadDataset(const std::string& directory, Part part) {
  const std::string dir = directory == "fashion-mnist" ? kFashionMnistDir : directory;
  const std::string stem = absl::StrCat(dir, "/", part == Part::kTrain ? "train" : "t10k");
  STRATA_ASSIGN_OR_RETURN(IdxFile images, ReadEither(stem + "-images-idx3-ubyte"));
  STRATA_ASSIGN_OR_RETURN(IdxFile labels, ReadEither(stem + "-labels-idx1-ubyte"));
  if (images.shape.size() < 2 || labels.shape.size() != 1 || images.shape[0] != labels.shape[0]) {
    return InvalidArgument(stem, "-*: must have one label for each image");
  }
  if (labels.data.empty()) return InvalidArgument(stem, "-labels-idx1-ubyte: must have at least one label");
  Dataset result;
  result.sample_shape.assign(images.shape.begin() + 1, images.shape.end());
  result.images = std::move(images.data);
  result.labels = std::move(labels.data);
  result.num_classes = 1 + *std::max_element(result.labels.begin(), result.labels.end());
  return result;
}

void EncodePixels(const Dataset& data, std::span<const int64_t> rows, v1::DataType dtype, std::string* out) {
  const int64_t size = data.sample_size();
  if (dtype == v1::UINT8) {
    out->resize(rows.size() * size);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::memcpy(out->data() + i * size, data.images.data() + rows[i] * size, size);
    }
    return;
  }
  const auto& table = PixelTable();
  out->resize(rows.size() * size * sizeof(float));
  char* dst = out->data();
  for (int64_t row : rows) {
    const uint8_t* src = data.images.data() + row * size;
    for (int64_t i = 0; i < size; ++i, dst += sizeof(float)) std::memcpy(dst, &table[src[i]], sizeof(float));
  }
}

void EncodeImages(const Dataset& data, std::span<const int64_t> rows, const Encoding& encoding, v1::Tensor* out) {
  out->set_dtype(encoding.input_dtype);
  SetShape(out, static_cast<int64_t>(rows.size()), encoding.input_shape);
  EncodePixels(data, rows, encoding.input_dtype, out->mutable_data());
}

void EncodeLabels(const Dataset& data, std::span<const int64_t> rows, const Encoding& encoding, v1::Tensor* out) {
  std::string* bytes = out->mutable_data();
  if (encoding.one_hot) {
    const int64_t classes[] = {data.num_classes};
    out->set_dtype(v1::FLOAT32);
    SetShape(out, static_cast<int64_t>(rows.size()), classes);
    bytes->assign(rows.size() * data.num_classes * sizeof(float), '\0');
    const float one = 1;
    for (size_t i = 0; i < rows.size(); ++i) {
      std::memcpy(bytes->data() + (i * data.num_classes + data.labels[rows[i]]) * sizeof(float), &one, sizeof(float));
    }
    return;
  }
  out->set_dtype(v1::INT64);
  SetShape(out, static_cast<int64_t>(rows.size()), {});
  bytes->resize(rows.size() * sizeof(int64_t));
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t label = data.labels[rows[i]];
    std::memcpy(bytes->data() + i * sizeof(int64_t), &label, sizeof(label));
  }
}

int64_t BatchPlan::NumRows(uint64_t sequence) const {
  const int64_t first = static_cast<int64_t>(sequence - 1) % batches_per_epoch() * options_.batch;
  return std::min(options_.batch, options_.rows - first);
}

std::vector<int64_t> BatchPlan::Order(int64_t epoch) const {
  std::vector<int64_t> order(options_.rows);
  std::iota(order.begin(), order.end(), 0);
  uint64_t state = options_.seed * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(epoch);
  for (int64_t i = options_.rows - 1; i > 0; --i) {
    std::swap(order[i], order[SplitMix64(state) % static_cast<uint64_t>(i + 1)]);
  }
  return order;
}

std::span<const int64_t> BatchPlan::Slice(std::span<const int64_t> order, uint64_t sequence) const {
  const int64_t first = static_cast<int64_t>(sequence - 1) % batches_per_epoch() * options_.batch;
  return order.subspan(first, NumRows(sequence));
}

}  // namespace strata::cli
