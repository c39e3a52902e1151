// What Keras 3 writes otherwise than tf.keras 2, brought into the older form, which the rest of this folder reads:
// dtype policies as objects, nodes as {"args", "kwargs"} of __keras_tensor__, arguments that Keras 2 does not know.
#pragma once

#include "absl/status/status.h"
#include "engine/import/json.h"

namespace strata::framework {

// A model's or a compilation's text, nested models included; text of Keras 2 stays as it is. UNIMPLEMENTED for an
// argument that Keras 2 lacks and that asks for something.
absl::Status FromKeras3(Json* json);

// Takes gradient_accumulation_steps out of an optimizer; null where there is none.
Json TakeAccumulation(Json* optimizer);

}  // namespace strata::framework
