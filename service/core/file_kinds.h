// What a model file is, told from its bytes.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// KERAS_HDF5 stands for every HDF5 file. INVALID_ARGUMENT for pickled files, with the reason and the conversion, and
// for what is none of the formats.
absl::StatusOr<v1::FileFormat> RecognizeFile(absl::string_view bytes);

}  // namespace strata::service
