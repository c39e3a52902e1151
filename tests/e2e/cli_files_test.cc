// strata import, export, convert, inspect: what they make, and what they say of wrong arguments.

#include <filesystem>

#include "absl/strings/str_join.h"
#include "tests/e2e/files_fixture.h"

namespace strata::e2e {
namespace {

class CliFiles : public Files {
 protected:
  // One command: exit code and, on standard error or output, the words.
  void Strata(const std::vector<std::string>& arguments, int code, const std::string& words = "") {
    std::vector<std::string> command = {STRATA_BIN "/strata", "--server", server_.grpc()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Process process(command, dir_ / absl::StrCat("cli", ++commands_));
    EXPECT_EQ(process.Wait(60), code) << absl::StrJoin(arguments, " ") << ": " << process.Errors();
    const std::string said = process.Output() + process.Errors();
    EXPECT_TRUE(absl::StrContains(said, words)) << absl::StrJoin(arguments, " ") << ": " << said;
  }
  std::string Written(const std::string& name, const std::string& bytes) {
    std::ofstream(dir_ / name, std::ios::binary) << bytes;
    return dir_ / name;
  }
  bool Exists(const std::string& name) { return std::filesystem::exists(std::string(dir_ / name)); }

  int commands_ = 0;
};

TEST_F(CliFiles, InAndOut) {
  const std::string keras = absl::StrCat(kFixtures, "keras/nested");
  Strata({"import", keras + ".h5", "--name", "net"}, 0, "model net from KERAS_HDF5, version 1");
  Strata({"import", keras + ".weights.h5", "--name", "net"}, 0, "KERAS_WEIGHTS, version 2");
  for (const std::string ending : {".strata", ".safetensors", ".h5", ".weights.h5", ".keras", ".json", ".hdf5"}) {
    Strata({"export", "net", dir_ / ("out" + ending)}, 0, "digest");
    Strata({"inspect", dir_ / ("out" + ending)}, 0);
    EXPECT_FALSE(Exists("out" + ending + ".part")) << ending;
  }
  Strata({"export", "net@1", dir_ / "first", "--format", "native"}, 0, "NATIVE");
  Strata({"import", dir_ / "first", "--name", "again"}, 0, "model again from NATIVE, version 1");
  EXPECT_EQ(NumModels(), 2);
}

// Weights without a training have no configuration that could go on: the command line's own is used.
TEST_F(CliFiles, TrainFromWeightsAlone) {
  Strata({"models", "create", STRATA_SOURCE "/examples/fashion_mnist/mlp.json"}, 0);
  const std::vector<std::string> few = {"--limit", "400", "--validation", "80", "--epochs", "1"};
  const auto train = [&](std::vector<std::string> words, const std::string& output) {
    words.insert(words.begin(), {"train", "fashion_mlp"});
    words.insert(words.end(), few.begin(), few.end());
    Strata(words, 0, output);
  };
  train({"--publish"}, "version 1 published");
  Strata({"export", "fashion_mlp", dir_ / "w.safetensors"}, 0);
  Strata({"import", dir_ / "w.safetensors", "--name", "fashion_mlp"}, 0, "version 2");
  train({"--from", "0"}, "SUCCEEDED after");
}

// A converted file names its model as FILE does, or as --name says; never as the server does meanwhile.
TEST_F(CliFiles, ConvertKeepsTheModelsName) {
  const std::string keras = absl::StrCat(kFixtures, "keras/nested");
  const auto name_of = [&](const std::string& file) {
    const Imported again = Import("", Bytes(dir_ / file));
    EXPECT_TRUE(again.status.ok()) << file << ": " << again.status.error_message();
    return again.response.name_in_file();
  };
  const std::string own = Import("there", Bytes(keras + ".h5")).response.name_in_file();
  ASSERT_FALSE(own.empty());
  for (const std::string out : {"out.keras", "out.h5", "out.strata", "out.json"}) {
    Strata({"convert", keras + ".h5", dir_ / out}, 0);
    EXPECT_EQ(name_of(out), own) << out;
    Strata({"convert", keras + ".keras", dir_ / out, "--name", "mine"}, 0);
    EXPECT_EQ(name_of(out), "mine") << out;
  }
}

TEST_F(CliFiles, WrongArguments) {
  const std::string keras = absl::StrCat(kFixtures, "keras/nested"), out = dir_ / "out.h5";
  Strata({"import", keras + ".h5", "--name", "net"}, 0);
  // Importing.
  Strata({"import"}, 2, "FILE is required");
  Strata({"import", dir_ / "nothing.h5"}, 2, "does not exist");
  Strata({"import", keras + ".h5", "--name", "a/b"}, 1, "name: ");
  Strata({"import", keras + ".weights.h5"}, 1, "definition: must be given");
  Strata({"import", keras + ".weights.h5", "--name", "nobody"}, 1, "name of a model that exists, got \"nobody\"");
  Strata({"import", keras + ".json", "--keras", keras + ".json", "--pytorch", keras + ".json"}, 2, "excludes");
  Strata({"import", absl::StrCat(kFixtures, "keras/cnn.h5"), "--name", "net"}, 1, "ALREADY_EXISTS");
  Strata({"import", Written("p.pt", std::string("\x80\x02}q\x00.", 6))}, 1, "execute code");
  Strata({"import", Written("empty", "")}, 1, "must not be empty");
  // Exporting.
  Strata({"export", "net"}, 1, "FILE: must be given");
  Strata({"export", "net@", out}, 1, "MODEL: must be NAME");
  Strata({"export", "@1", out}, 1, "MODEL: must be NAME");
  Strata({"export", "net@1@2", out}, 1, "MODEL: must be NAME");
  Strata({"export", "net@0", out}, 1, "version from 1 on");
  Strata({"export", "net@-1", out}, 1, "version from 1 on");
  Strata({"export", "net@7", out}, 1, "got 7");
  Strata({"export", "net@nobody", out}, 1, "nobody");
  Strata({"export", "net@1", out, "--run", "r"}, 1, "NAME beside --run");
  Strata({"export", "nobody", out}, 1, "NOT_FOUND");
  Strata({"export", "net", dir_ / "out.bin"}, 1, "FILE: must end with");
  Strata({"export", "net", out, "--format", "onnx"}, 1, "--format: must be a format's name, got onnx");
  Strata({"export", "net", dir_ / "out.py"}, 1, "format: must be one of KERAS's");
  Strata({"export", "net", dir_ / "no/such/folder.h5"}, 1, "can be written");
  // Converting.
  Strata({"convert", keras + ".h5"}, 2, "OUT is required");
  Strata({"convert", keras + ".h5", dir_ / "out.bin"}, 1, "FILE: must end with");
  Strata({"convert", keras + ".h5", out, "--dialect", "latin"}, 2);
  Strata({"convert", keras + ".weights.h5", out}, 1, "definition: must be given");
  // Looking.
  Strata({"inspect", dir_ / "nothing"}, 2, "does not exist");
  Strata({"inspect", dir_ / "p.pt"}, 1, "execute code");
  Strata({"inspect", Written("cut", Bytes(keras + ".h5").substr(0, 100))}, 1, "file: cannot be read");
  Strata({"inspect", Written("text", "no model")}, 1, "file: must be safetensors");
  EXPECT_EQ(NumModels(), 1);
  for (const std::string name : {"out.h5", "out.bin", "out.py", "out.h5.part", "out.py.part"}) {
    EXPECT_FALSE(Exists(name)) << name;
  }
}

}  // namespace
}  // namespace strata::e2e
