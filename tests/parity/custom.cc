#include "tests/parity/custom.h"

#include "engine/base/status.h"
#include "google/protobuf/util/json_util.h"

namespace strata::parity {

// The texts of custom/*.json, embedded by CMake; null at the end.
extern const char* const kCustomComponents[];

const Definitions& CustomObjects(v1::Dialect dialect) {
  static const auto& none = *new Definitions();
  static const auto& keras = *[] {
    auto* all = new Definitions();
    for (const char* const* text = kCustomComponents; *text != nullptr; ++text) {
      const auto status = google::protobuf::util::JsonStringToMessage(*text, all->Add());
      if (!status.ok()) std::fprintf(stderr, "custom component: %s\n", std::string(status.message()).c_str());
      STRATA_CHECK(status.ok());
    }
    return all;
  }();
  return dialect == v1::KERAS ? keras : none;
}

}  // namespace strata::parity
