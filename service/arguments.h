// The server's command line, as far as Abseil's own reading of it does not suit a server.
#pragma once

#include <optional>
#include <string>

namespace strata::service {

// Answers --help and --version on standard output, and refuses on standard error what is no flag or no value of one.
// The code to exit with then: 0 or 2. Otherwise nothing is said, and absl::ParseCommandLine accepts the arguments.
// `defined_in` is the end of the path of the file whose flags --help lists.
std::optional<int> AnswerArguments(int argc, char** argv, const std::string& defined_in);

}  // namespace strata::service
