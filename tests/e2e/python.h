// The interpreter for tests with clients of other projects.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace strata::e2e {

// $STRATA_TEST_PYTHON, or that of the environment that scripts/test_env makes. A test without it fails: what is not run
// is not known to work.
inline std::string PythonWithTriton() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string asked = variable("STRATA_TEST_PYTHON"); !asked.empty()) return asked;
  const std::string cache = variable("XDG_CACHE_HOME");
  const std::string python = (cache.empty() ? variable("HOME") + "/.cache" : cache) + "/strata-tests/bin/python";
  EXPECT_TRUE(std::filesystem::exists(python)) << python << " is missing: run scripts/setup --tests";
  return python;
}

}  // namespace strata::e2e
