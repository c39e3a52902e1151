// Elements that outlive their tensor.
#pragma once

#include <memory>

#include "engine/base/tensor.h"

namespace strata {

// Keeps a tensor's elements in their place after it has gone; the pointer is raw(). Null for an empty tensor.
std::shared_ptr<const void> Hold(const Tensor& tensor);

}  // namespace strata
