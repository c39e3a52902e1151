// The choice of weights that becomes a version.
#include "cli/commands.h"

namespace strata::cli {

void AddWeightChoice(CLI::App& app, std::string* choice) {
  app.add_option(
         "--weights", *choice,
         "Weights of the version: present, averaged (the optimizer's moving average; the default where there is "
         "one) or best (the configuration's keep_best)")
      ->check(CLI::IsMember({"present", "averaged", "best"}));
}

v1::WeightChoice WeightChoiceOf(const std::string& choice) {
  if (choice == "present") return v1::PRESENT;
  if (choice == "averaged") return v1::AVERAGED;
  return choice == "best" ? v1::BEST : v1::WEIGHT_CHOICE_UNSPECIFIED;
}

}  // namespace strata::cli
