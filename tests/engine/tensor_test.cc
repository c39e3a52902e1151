// Where tensors' elements stand: small ones, and those that have pages of their own.
#include "engine/base/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/hold.h"

namespace strata {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(Tensor, ElementsAreZeroAlignedAndTheirOwn) {
  std::vector<Tensor> tensors;
  for (const int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{4096}, 4 * kMiB - 1, 4 * kMiB, 4 * kMiB + 1, 7 * kMiB}) {
    for (int again = 0; again < 2; ++again) {
      const Tensor& t = tensors.emplace_back(DType::kU8, Shape{bytes});
      EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw()) % 64, 0U) << bytes;
      const auto* begin = t.data<uint8_t>();
      EXPECT_TRUE(std::all_of(begin, begin + bytes, [](uint8_t v) { return v == 0; })) << bytes;
      std::fill_n(tensors.back().data<uint8_t>(), bytes, static_cast<uint8_t>(tensors.size()));
    }
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto* begin = tensors[i].data<uint8_t>();
    EXPECT_TRUE(std::all_of(begin, begin + tensors[i].num_elements(), [&](uint8_t v) { return v == i + 1; })) << i;
  }
}

TEST(Tensor, MovesWithoutACopyAndClonesWithOne) {
  for (const int64_t size : {int64_t{3}, 2 * kMiB}) {
    Tensor a(DType::kF32, {size});
    a.Set(size - 1, 5);
    const void* const place = a.raw();
    const Tensor b = std::move(a), c = b.Clone();
    EXPECT_EQ(b.raw(), place);
    EXPECT_NE(c.raw(), place);
    EXPECT_EQ(c.At(size - 1), 5);
  }
}

TEST(Tensor, HeldElementsStayWhenTheirTensorGoes) {
  for (const int64_t size : {int64_t{3}, 2 * kMiB}) {
    std::shared_ptr<const void> first, second;
    {
      Tensor t(DType::kF32, {size});
      t.Set(size - 1, 5);
      first = Hold(t);
      second = Hold(t);
      EXPECT_EQ(first.get(), t.raw());
    }
    first.reset();
    EXPECT_EQ(static_cast<const float*>(second.get())[size - 1], 5);
  }
  EXPECT_EQ(Hold(Tensor()), nullptr);
}

}  // namespace
}  // namespace strata
