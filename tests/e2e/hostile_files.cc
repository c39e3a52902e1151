#include "tests/e2e/hostile_files.h"

#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace strata::e2e {
namespace {

template <typename T>
void Put(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

uint32_t Crc32(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
  }
  return ~crc;
}

std::string Tensor(const std::string& name, const std::string& shape, uint64_t begin, uint64_t end,
                   const std::string& dtype = "F32") {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":[", shape, "],\"data_offsets\":[", begin,
                      ",", end, "]}");
}

}  // namespace

std::string Safetensors(const std::string& header, size_t data_bytes) {
  std::string out;
  Put(&out, static_cast<uint64_t>(header.size()));
  return out + header + std::string(data_bytes, '\0');
}

std::string Zip(const std::vector<ZipEntry>& entries) {
  std::string out, directory;
  for (const ZipEntry& e : entries) {
    const auto size = static_cast<uint32_t>(e.claimed_size < 0 ? e.bytes.size() : e.claimed_size);
    const auto offset = static_cast<uint32_t>(e.claimed_offset < 0 ? out.size() : e.claimed_offset);
    std::string common;
    for (uint16_t word : {20, 0, 0, 0, 0x21}) Put(&common, word);  // version, flags, stored, time, date
    Put(&common, Crc32(e.bytes));
    Put(&common, static_cast<uint32_t>(e.bytes.size()));
    Put(&common, size);
    Put(&common, static_cast<uint16_t>(e.name.size()));
    Put(&common, uint16_t{0});
    out += "PK\x03\x04" + common + e.name + e.bytes;
    directory += "PK\x01\x02";
    Put(&directory, uint16_t{20});
    directory += common;
    for (uint16_t word : {0, 0, 0}) Put(&directory, word);  // comment, disk, internal attributes
    Put(&directory, uint32_t{0});
    Put(&directory, offset);
    directory += e.name;
  }
  const auto start = static_cast<uint32_t>(out.size());
  out += directory + "PK\x05\x06";
  for (uint16_t word : {0, 0, static_cast<int>(entries.size()), static_cast<int>(entries.size())}) Put(&out, word);
  Put(&out, static_cast<uint32_t>(directory.size()));
  Put(&out, start);
  Put(&out, uint16_t{0});
  return out;
}

std::vector<HostileFile> HostileSafetensors() {
  const std::string huge = "18446744073709551615";
  std::string long_header = Safetensors("{}", 0);
  const uint64_t length = 100000001;
  std::memcpy(long_header.data(), &length, sizeof(length));
  long_header[8] = '{';
  std::string beyond = Safetensors("{}", 8);
  const uint64_t too_long = uint64_t{1} << 63;
  std::memcpy(beyond.data(), &too_long, sizeof(too_long));
  return {
      {"header_beyond_the_file", beyond, "header"},
      {"header_too_large", long_header, "header"},
      {"overlapping_tensors", Safetensors("{" + Tensor("a", "2", 0, 8) + "," + Tensor("b", "2", 4, 12) + "}", 12),
       "overlap"},
      {"equal_tensors", Safetensors("{" + Tensor("a", "2", 0, 8) + "," + Tensor("b", "2", 0, 8) + "}", 8), "overlap"},
      {"hole", Safetensors("{" + Tensor("a", "2", 0, 8) + "," + Tensor("b", "2", 12, 20) + "}", 20), "hole"},
      {"first_not_at_zero", Safetensors("{" + Tensor("a", "2", 4, 12) + "}", 12), "hole"},
      {"trailing_bytes", Safetensors("{" + Tensor("a", "2", 0, 8) + "}", 9), "bytes of data"},
      {"missing_bytes", Safetensors("{" + Tensor("a", "2", 0, 8) + "}", 7), "bytes of data"},
      {"backwards", Safetensors("{" + Tensor("a", "2", 8, 0) + "}", 8), "backwards"},
      {"size_does_not_fit", Safetensors("{" + Tensor("a", "3", 0, 8) + "}", 8), "do not fit"},
      {"shape_overflows", Safetensors("{" + Tensor("a", "4294967296,4294967296,4294967296", 0, 0) + "}", 0),
       "overflows"},
      {"shape_wraps_to_zero", Safetensors("{" + Tensor("a", "281474976710656,65536", 0, 0) + "}", 0), "overflows"},
      {"number_too_large", Safetensors("{" + Tensor("a", huge + "0", 0, 8) + "}", 8), "too large"},
      {"negative_size", Safetensors("{" + Tensor("a", "-1", 0, 8) + "}", 8), "unsigned"},
      {"fraction", Safetensors("{" + Tensor("a", "1.5", 0, 8) + "}", 8), "expected"},
      {"too_many_axes", Safetensors("{" + Tensor("a", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", 0, 4) + "}", 4), "axes"},
      {"duplicate_tensor", Safetensors("{" + Tensor("a", "1", 0, 4) + "," + Tensor("a", "1", 4, 8) + "}", 8),
       "duplicate"},
      {"duplicate_by_escape", Safetensors("{" + Tensor("a", "1", 0, 4) + "," + Tensor("\\u0061", "1", 4, 8) + "}", 8),
       "duplicate"},
      {"duplicate_key_of_a_tensor",
       Safetensors(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4), "duplicate"},
      {"unknown_key", Safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"path":"/etc/passwd"}})", 4),
       "unknown key"},
      {"metadata_of_numbers", Safetensors(R"({"__metadata__":{"a":1}})", 0), "expected"},
      {"nested_metadata", Safetensors("{\"__metadata__\":" + std::string(100000, '[') + "}", 0), "expected"},
      {"deep_tensor", Safetensors("{\"a\":" + std::string(100000, '{') + "}", 0), "expected"},
      {"not_utf8", Safetensors("{" + Tensor("\xc0\xaf", "1", 0, 4) + "}", 4), "UTF-8"},
      {"lone_surrogate", Safetensors("{" + Tensor("\\ud800", "1", 0, 4) + "}", 4), "surrogate"},
      {"bytes_behind_the_header", Safetensors("{" + Tensor("a", "1", 0, 4) + "}x", 4), "after the object"},
      {"no_object", Safetensors("{", 0), "safetensors"},
  };
}

std::vector<HostileFile> HostileArchives(const std::string& weights, const std::string& config) {
  const ZipEntry good_config{"config.json", config}, good_weights{"model.weights.h5", weights};
  std::vector<ZipEntry> many = {good_config, good_weights};
  for (int i = 0; i < 100; ++i) many.push_back({absl::StrCat("asset", i), "x"});
  ZipEntry overlap{"model.weights.h5", weights};
  overlap.claimed_offset = 0;  // that of config.json
  ZipEntry beyond{"model.weights.h5", weights};
  beyond.claimed_offset = 0x7fffffff;
  ZipEntry bomb{"model.weights.h5", weights};
  bomb.claimed_size = 0x7fffffff;
  return {
      {"parent_folder", Zip({good_config, good_weights, {"../../etc/cron.d/x", "x"}}), "inside the archive"},
      {"parent_folder_in_the_middle", Zip({good_config, good_weights, {"assets/../../x", "x"}}), "inside the archive"},
      {"absolute_name", Zip({good_config, good_weights, {"/etc/passwd", "x"}}), "inside the archive"},
      {"other_systems_separator", Zip({good_config, good_weights, {"..\\x", "x"}}), "inside the archive"},
      {"duplicate_config", Zip({good_config, good_weights, good_config}), "zip:"},
      {"duplicate_weights", Zip({good_config, good_weights, good_weights}), "zip:"},
      {"overlapping_members", Zip({good_config, overlap}), "zip:"},
      {"member_beyond_the_file", Zip({good_config, beyond}), "zip:"},
      {"claims_more_than_it_holds", Zip({good_config, bomb}), "zip:"},
      {"many_members", Zip(many), "at most"},
      {"no_config", Zip({good_weights}), "config.json"},
      {"no_weights", Zip({good_config}), "model.weights.h5"},
      {"weights_are_no_hdf5", Zip({good_config, {"model.weights.h5", std::string(4096, 'x')}}), "hdf5"},
      {"config_is_no_json", Zip({{"config.json", "{"}, good_weights}), "json: must be a JSON text"},
      {"deep_config", Zip({{"config.json", std::string(2000000, '[')}, good_weights}), "must be nested <= 256 deep"},
      {"empty", Zip({}), "must be safetensors, HDF5, a .keras archive or JSON"},
  };
}

std::vector<HostileFile> HostileTexts() {
  std::string lists = R"({"class_name":"Sequential","keras_version":"2.21.0","config":{"name":"m","layers":)";
  std::string models = lists;
  for (int i = 0; i < 20000; ++i) {
    absl::StrAppend(&models, i == 0 ? "" : R"("config":{"layers":)", R"([{"class_name":"Sequential",)");
  }
  std::string messages = R"({"name":"m","dialect":"KERAS","layers":[)";
  for (int i = 0; i < 5000; ++i) messages += R"({"model":{"layers":[)";
  return {
      {"deep_lists", lists + std::string(3000000, '[') + std::string(3000000, ']') + "}}",
       "must be nested <= 256 deep"},
      {"deep_unclosed_lists", lists + std::string(3000000, '['), "file: must be a JSON object"},
      {"deep_models_unclosed", models, "file: must be a JSON object"},
      {"deep_messages", messages, "file: must be a JSON object"},
      {"not_utf8", "{\"class_name\":\"\xff\xfe\"}", "file: must be a JSON object"},
      {"wrong_types", R"({"class_name":["Sequential"],"config":7,"keras_version":"2"})",
       "class_name: must be a string, got [\"Sequential\"]"},
      {"huge_layer",
       R"({"name":"m","dialect":"PYTORCH","inputs":[{"shape":["9007199254740992"]}],"layers":[{"linear":{"units":"9007199254740992"}}]})",
       "inputs[0].shape: must have fewer elements"},
      {"huge_input",
       R"({"name":"m","dialect":"PYTORCH","inputs":[{"shape":["4611686018427387904","4611686018427387904"]}],"layers":[{"relu":{}}]})",
       "inputs[0].shape: must have fewer elements"},
  };
}

}  // namespace strata::e2e
