// Names of PyTorch and Keras that stand for no component of the catalog, and what they are here.
#pragma once

#include <string>

namespace strata::nn {

// Rows of a Markdown table: Strata's message, PyTorch's names, Keras' names.
std::string OtherFrameworkNames();

}  // namespace strata::nn
