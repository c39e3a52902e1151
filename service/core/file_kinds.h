// What a model file is, told from its bytes.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "service/store/safetensors.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// Of files that are no safetensors. KERAS_HDF5 stands for every HDF5 file. INVALID_ARGUMENT for pickled files, with the
// reason and the conversion, and for what is none of the formats.
absl::StatusOr<v1::FileFormat> RecognizeFile(absl::string_view bytes);

// Whether a file of `size` bytes (0: not known) that begins with these is safetensors. Nine bytes tell.
bool LooksLikeTensors(absl::string_view start, uint64_t size);
// NATIVE or PYTORCH_STATE_DICT.
v1::FileFormat KindOfTensors(const Metadata& metadata);

}  // namespace strata::service
