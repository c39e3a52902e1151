// strata-parity --convert: whole models of the cases in the other dialect.
#pragma once

#include "tests/parity/case.h"
#include "tests/parity/result.h"

namespace strata::parity {

// Of a case of kind model or training. Unsupported with the reasons where there is no counterpart.
Result RunConversion(const Case& c);

}  // namespace strata::parity
