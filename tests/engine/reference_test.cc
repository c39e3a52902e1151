// docs/reference holds what the code generates. STRATA_UPDATE_DOCS=1 writes it anew.
#include "engine/nn/reference.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace strata {
namespace {

namespace fs = std::filesystem;
const char kFolder[] = STRATA_SOURCE_DIR "/docs/reference";

std::string Read(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Reference, PagesAreWhatTheCodeGenerates) {
  const std::map<std::string, std::string> pages = nn::ReferencePages();
  ASSERT_GT(pages.size(), 100u);
  if (std::getenv("STRATA_UPDATE_DOCS") != nullptr) {
    fs::remove_all(kFolder);
    for (const auto& [path, text] : pages) {
      fs::create_directories((fs::path(kFolder) / path).parent_path());
      std::ofstream(fs::path(kFolder) / path) << text;
    }
    return;
  }
  for (const auto& [path, text] : pages) EXPECT_EQ(Read(fs::path(kFolder) / path), text) << path << " is old";
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kFolder)) files += entry.is_regular_file();
  EXPECT_EQ(files, pages.size()) << "a page of a component that is gone";
}

}  // namespace
}  // namespace strata
