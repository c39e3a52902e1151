// docs/reference holds what the code generates. STRATA_UPDATE_DOCS=1 writes it anew.
#include "engine/nn/reference.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "engine/nn/schema.h"
#include "google/protobuf/util/json_util.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/training.pb.h"

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

// Every component has an example that completes: in one dialect at least, and in the one that has it.
TEST(Reference, ExamplesAreGood) {
  for (const v1::ComponentInfo& info : nn::DescribeComponents()) {
    SCOPED_TRACE(info.family() + " " + info.name() + ": " + info.example());
    const auto* type =
        google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(info.example_message());
    ASSERT_NE(type, nullptr);
    const auto* prototype = google::protobuf::MessageFactory::generated_factory()->GetPrototype(type);
    int good = 0;
    for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
      const std::unique_ptr<google::protobuf::Message> message(prototype->New());
      ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(info.example(), message.get()).ok());
      const absl::Status status = nn::Fill(dialect, "example", message.get());
      if (status.ok()) ++good;
      // Activations, initializers and constraints are shown as arguments of one of Keras' layers.
      if (info.schema().only() == dialect && info.example_message() != "strata.v1.Layer") {
        EXPECT_TRUE(status.ok()) << status;
      }
    }
    EXPECT_GT(good, 0);
  }
}

}  // namespace
}  // namespace strata
