// The custom components that cases name without defining them, from custom/*.json: definitions as a client sends them,
// and imported as a client's are.
#pragma once

#include "engine/import/framework.h"
#include "strata/v1/schema.pb.h"

namespace strata::parity {

// What class and function names mean besides a framework's own. PyTorch's cases bring the text of theirs.
const Definitions& CustomObjects(v1::Dialect dialect);

}  // namespace strata::parity
