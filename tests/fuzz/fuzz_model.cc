// Any text as a model file: refused with words, or a definition that stays as it is when it is completed again. Nothing
// is allocated for weights, so sizes may be absurd.

#include <cstdint>
#include <string>

#include "engine/base/status.h"
#include "engine/session.h"
#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/util/json_util.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  strata::v1::Model model;
  const google::protobuf::StringPiece text(reinterpret_cast<const char*>(data), size);
  if (!google::protobuf::util::JsonStringToMessage(text, &model).ok()) return 0;
  const auto complete = strata::Complete(model);
  STRATA_CHECK(complete.ok() || !complete.status().message().empty());
  if (!complete.ok()) return 0;
  const auto again = strata::Complete(*complete);
  STRATA_CHECK(again.ok());
  STRATA_CHECK(again->DebugString() == complete->DebugString());
  const auto facts = strata::Inspect(*complete, nullptr, 2);
  STRATA_CHECK(facts.ok() || !facts.status().message().empty());
  return 0;
}
