// Any bytes as a training batch: refused, or views that stay within the message.

#include <cstdint>

#include "engine/base/status.h"
#include "service/core/wire.h"
#include "strata/v1/services.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  strata::v1::Batch batch;
  if (!batch.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto views = strata::service::ViewsOf("batch.tensors", batch.tensors());
  if (!views.ok()) return 0;
  for (const auto& [name, view] : *views) {
    STRATA_CHECK(view.size_bytes() == batch.tensors().at(name).data().size());
    STRATA_CHECK(view.size_bytes() == 0 || view.data != nullptr);
  }
  return 0;
}
