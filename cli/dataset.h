// Labelled images for training and testing, and the batches made of them.
//
//   STRATA_ASSIGN_OR_RETURN(Dataset train, LoadDataset("fashion-mnist", Part::kTrain));
//   BatchPlan plan({.rows = 55000, .batch = 64, .seed = 1});
//   for (int64_t row : plan.Rows(17)) ...       // batch 17, always the same rows
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "strata/v1/tensor.pb.h"

namespace strata::cli {

// Where Debian's package dataset-fashion-mnist puts its files.
inline constexpr char kFashionMnistDir[] = "/usr/share/datasets/fashion-mnist";

struct Dataset {
  std::vector<int64_t> sample_shape;  // of one image, for example {28, 28}
  int64_t num_classes = 0;
  std::vector<uint8_t> images;  // num_samples() images, row-major
  std::vector<uint8_t> labels;

  int64_t num_samples() const { return static_cast<int64_t>(labels.size()); }
  int64_t sample_size() const;
};

enum class Part { kTrain, kTest };

// Reads train-images-idx3-ubyte and its three companions (.gz or plain) from a directory; "fashion-mnist" names
// Debian's copy.
absl::StatusOr<Dataset> LoadDataset(const std::string& directory, Part part);

// How images and labels become tensors.
struct Encoding {
  std::vector<int64_t> input_shape;  // without the batch axis; as many elements as an image
  v1::DataType input_dtype = v1::FLOAT32;
  bool one_hot = false;  // targets are FLOAT32 [N, classes] instead of INT64 [N]
};

// Puts images into `out`, reusing its memory: FLOAT32 is pixel / 255, UINT8 is the pixel.
void EncodeImages(const Dataset& data, std::span<const int64_t> rows, const Encoding& encoding, v1::Tensor* out);
void EncodeLabels(const Dataset& data, std::span<const int64_t> rows, const Encoding& encoding, v1::Tensor* out);

// Bytes alone, for requests that carry their shape elsewhere.
void EncodePixels(const Dataset& data, std::span<const int64_t> rows, v1::DataType dtype, std::string* out);

// Which rows a training batch has, as a function of its sequence number. A batch that must be sent again is made again,
// so nothing is kept for it, and a client that was killed goes on where its run stands. Thread-safe: no state changes.
class BatchPlan {
 public:
  struct Options {
    int64_t rows = 0;   // samples of an epoch
    int64_t batch = 1;  // the last batch of an epoch has what is left
    uint64_t seed = 0;  // each epoch has an order of its own
  };
  explicit BatchPlan(const Options& options) : options_(options) {}

  int64_t batches_per_epoch() const { return (options_.rows + options_.batch - 1) / options_.batch; }
  // Sequence numbers and epochs start at 1.
  int64_t Epoch(uint64_t sequence) const { return static_cast<int64_t>(sequence - 1) / batches_per_epoch() + 1; }
  int64_t NumRows(uint64_t sequence) const;

  // All rows of an epoch, shuffled.
  std::vector<int64_t> Order(int64_t epoch) const;
  // The part of an epoch's order that a batch has.
  std::span<const int64_t> Slice(std::span<const int64_t> order, uint64_t sequence) const;

 private:
  Options options_;
};

}  // namespace strata::cli
