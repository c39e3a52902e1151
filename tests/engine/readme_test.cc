// engine/README.md shows what the code prints. STRATA_UPDATE_DOCS=1 writes the listings anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "engine/passes/passes.h"
#include "engine/plan/plan.h"
#include "engine/session.h"
#include "engine/train/step.h"
#include "google/protobuf/text_format.h"

namespace strata {
namespace {

const char kPath[] = STRATA_SOURCE_DIR "/engine/README.md";

std::string ReadFile() {
  std::ifstream in(kPath);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The listing between `<!-- begin name -->` and `<!-- end name -->`.
void CheckListing(const std::string& name, const std::string& language, const std::string& want) {
  std::string page = ReadFile();
  const std::string begin = absl::StrCat("<!-- begin ", name, " -->\n"), end = absl::StrCat("<!-- end ", name, " -->");
  const size_t a = page.find(begin), b = page.find(end);
  ASSERT_TRUE(a != std::string::npos && b != std::string::npos) << name;
  const std::string block = absl::StrCat("```", language, "\n", want, "```\n");
  const size_t from = a + begin.size();
  if (std::getenv("STRATA_UPDATE_DOCS") != nullptr) {
    page.replace(from, b - from, block);
    std::ofstream(kPath) << page;
    return;
  }
  EXPECT_EQ(page.substr(from, b - from), block) << "listing " << name << " of engine/README.md is old";
}

const char kModel[] = R"(name: "mlp"
dialect: PYTORCH
inputs { shape: 8 }
layers { linear { units: 16 } }
layers { relu {} }
layers { linear { units: 3 } }
)";
const char kConfig[] = R"(objectives { loss { cross_entropy {} } }
optimizer { sgd { learning_rate: 0.1 momentum: 0.9 } }
)";

TEST(Readme, ShowsEveryStage) {
#ifdef __clang__
  GTEST_SKIP() << "the listings number values in GCC's order of evaluating operands; the Release build checks them";
#endif
  v1::Model given;
  v1::TrainingConfig given_config;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(kModel, &given));
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(kConfig, &given_config));
  CheckListing("definition", "proto", absl::StrCat("# Model\n", kModel, "# TrainingConfig\n", kConfig));
  const auto model = Complete(given);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto config = CompleteConfig(*model, given_config);
  ASSERT_TRUE(config.ok()) << config.status();
  auto step = BuildTrainStep(*model, *config, {{"input", DType::kF32, {4, 8}}, {"target", DType::kI64, {4}}});
  ASSERT_TRUE(step.ok()) << step.status();
  Graph pruned = Prune(step->graph);
  CheckListing("graph", "text", ToText(pruned));
  auto optimized = Optimize(std::move(pruned));
  ASSERT_TRUE(optimized.ok()) << optimized.status();
  CheckListing("optimized", "text", ToText(*optimized));
  auto plan = MakePlan(*std::move(optimized), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  CheckListing("plan", "text", ToText(**plan));
}

}  // namespace
}  // namespace strata
