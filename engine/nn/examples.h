// A use of each component as JSON, for the reference.
#pragma once

#include <string>
#include <string_view>

namespace strata::nn {

struct Example {
  std::string message;  // full name of what the text is
  std::string json;
};

// Of a component that is no layer: a training configuration, or a layer of Keras' dialect around an activation, an
// initializer or a constraint.
Example ExampleOf(std::string_view family, std::string_view name);

}  // namespace strata::nn
