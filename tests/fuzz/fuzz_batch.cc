// Any bytes as a training batch: refused, or views that stay within the message.

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "service/core/wire.h"
#include "strata/v1/services.pb.h"

namespace {

// Every text lies within the data, and together with their lengths they are all of it.
void CheckTexts(const strata::TensorView& view, const std::string& data) {
  size_t bytes = 0;
  for (int64_t i = 0; i < view.num_elements(); ++i) {
    const std::string_view text = view.as<std::string_view>()[i];
    STRATA_CHECK(text.data() >= data.data() && text.data() + text.size() <= data.data() + data.size());
    bytes += sizeof(uint32_t) + text.size();
  }
  STRATA_CHECK(bytes == data.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  strata::v1::Batch batch;
  if (!batch.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto parsed = strata::service::ViewsOf("batch.tensors", batch.tensors());
  if (!parsed.ok()) return 0;
  for (const auto& [name, view] : parsed->views) {
    const std::string& data = batch.tensors().at(name).data();
    if (view.dtype == strata::DType::kText) {
      CheckTexts(view, data);
      continue;
    }
    STRATA_CHECK(view.size_bytes() == data.size());
    STRATA_CHECK(view.size_bytes() == 0 || view.data != nullptr);
  }
  return 0;
}
