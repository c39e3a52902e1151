#include "engine/base/tensor.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "engine/base/half.h"
#include "engine/base/hold.h"
#include "engine/base/status.h"

namespace strata {
namespace {

constexpr size_t kAlignment = 64;
// Stands before the elements.
struct Block {
  void* base = nullptr;         // what calloc gave
  std::atomic<int> owners = 1;  // the tensor, and who holds its elements
};
static_assert(sizeof(Block) <= kAlignment);

Block* BlockOf(std::byte* elements) { return reinterpret_cast<Block*>(elements - sizeof(Block)); }

// Large tensors ask for huge pages where the kernel gives them on request only: an access then rarely waits for the
// address's translation, which takes two walks of tables on a virtual machine.
void AskForHugePages(std::byte* elements, size_t size) {
  constexpr uintptr_t kHugePage = 2 << 20;
  const uintptr_t at = reinterpret_cast<uintptr_t>(elements);
  const uintptr_t from = (at + kHugePage - 1) / kHugePage * kHugePage, to = (at + size) / kHugePage * kHugePage;
  if (from < to) (void)madvise(elements + (from - at), to - from, MADV_HUGEPAGE);
}

void Release(std::byte* elements) {
  Block* const block = BlockOf(elements);
  if (block->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(block->base);
}

template <typename T>
T Load(const void* p, int64_t i) {
  T v;
  std::memcpy(&v, static_cast<const char*>(p) + i * sizeof(T), sizeof(T));
  return v;
}

double LoadAs(DType t, const void* p, int64_t i) {
  switch (t) {
    case DType::kBool:
      return Load<uint8_t>(p, i) != 0;
    case DType::kU8:
      return Load<uint8_t>(p, i);
    case DType::kI8:
      return Load<int8_t>(p, i);
    case DType::kI16:
      return Load<int16_t>(p, i);
    case DType::kU16:
      return Load<uint16_t>(p, i);
    case DType::kI32:
      return Load<int32_t>(p, i);
    case DType::kU32:
      return Load<uint32_t>(p, i);
    case DType::kI64:
      return static_cast<double>(Load<int64_t>(p, i));
    case DType::kU64:
      return static_cast<double>(Load<uint64_t>(p, i));
    case DType::kF16:
      return HalfToFloat(Load<uint16_t>(p, i));
    case DType::kBF16:
      return BFloat16ToFloat(Load<uint16_t>(p, i));
    case DType::kF32:
      return Load<float>(p, i);
    case DType::kF64:
      return Load<double>(p, i);
    case DType::kText:
      break;
  }
  return 0;
}

// Saturates: a cast of a value out of range is undefined in C++.
template <typename T>
T ToInt(double v) {
  if (!(v > static_cast<double>(std::numeric_limits<T>::min()))) {
    return v != v ? T{0} : std::numeric_limits<T>::min();
  }
  if (v >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  return static_cast<T>(v);
}

template <typename T>
void Store(void* p, int64_t i, T v) {
  std::memcpy(static_cast<char*>(p) + i * sizeof(T), &v, sizeof(T));
}

void StoreAs(DType t, void* p, int64_t i, double v) {
  switch (t) {
    case DType::kBool:
      return Store<uint8_t>(p, i, v != 0);
    case DType::kU8:
      return Store(p, i, ToInt<uint8_t>(v));
    case DType::kI8:
      return Store(p, i, ToInt<int8_t>(v));
    case DType::kI16:
      return Store(p, i, ToInt<int16_t>(v));
    case DType::kU16:
      return Store(p, i, ToInt<uint16_t>(v));
    case DType::kI32:
      return Store(p, i, ToInt<int32_t>(v));
    case DType::kU32:
      return Store(p, i, ToInt<uint32_t>(v));
    case DType::kI64:
      return Store(p, i, ToInt<int64_t>(v));
    case DType::kU64:
      return Store(p, i, ToInt<uint64_t>(v));
    case DType::kF16:
      return Store(p, i, FloatToHalf(static_cast<float>(v)));
    case DType::kBF16:
      return Store(p, i, FloatToBFloat16(static_cast<float>(v)));
    case DType::kF32:
      return Store(p, i, static_cast<float>(v));
    case DType::kF64:
      return Store(p, i, v);
    case DType::kText:
      break;
  }
}

}  // namespace

void Tensor::Free::operator()(std::byte* p) const { Release(p); }

std::shared_ptr<const void> Hold(const Tensor& tensor) {
  if (tensor.empty()) return nullptr;
  auto* const p = static_cast<std::byte*>(const_cast<void*>(tensor.raw()));
  BlockOf(p)->owners.fetch_add(1, std::memory_order_relaxed);
  return std::shared_ptr<const void>(p, [p](const void*) { Release(p); });
}

// calloc, for the pages of large tensors are then zeros that take no memory until they are written: a file's announced
// size is not spent before its bytes arrive, and no pass over the memory fills it.
Tensor::Tensor(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) {
  void* const base = std::calloc(1, size_bytes() + kAlignment + sizeof(Block));
  STRATA_CHECK(base != nullptr);
  const uintptr_t first = reinterpret_cast<uintptr_t>(base) + sizeof(Block);
  auto* const p = reinterpret_cast<std::byte*>((first + kAlignment - 1) / kAlignment * kAlignment);
  new (BlockOf(p)) Block{.base = base};
  AskForHugePages(p, size_bytes());
  data_.reset(p);
}

Tensor Tensor::CopyOf(const TensorView& view) {
  Tensor t(view.dtype, view.shape);
  if (t.size_bytes() > 0) std::memcpy(t.raw(), view.data, t.size_bytes());
  return t;
}

Tensor Tensor::Scalar(double value, DType dtype) {
  Tensor t(dtype, {});
  t.Set(0, value);
  return t;
}

double Tensor::At(int64_t i) const { return LoadAs(dtype_, data_.get(), i); }

void Tensor::Set(int64_t i, double value) { StoreAs(dtype_, data_.get(), i, value); }

Tensor Cast(const TensorView& view, DType dtype) {
  if (view.dtype == dtype) return Tensor::CopyOf(view);
  Tensor t(dtype, view.shape);
  for (int64_t i = 0, n = t.num_elements(); i < n; ++i) StoreAs(dtype, t.raw(), i, LoadAs(view.dtype, view.data, i));
  return t;
}

}  // namespace strata
