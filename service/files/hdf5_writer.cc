#include <hdf5.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/files/containers.h"
#include "service/files/hdf5_handle.h"
#include "service/files/write_error.h"

namespace strata::service {
namespace {

using Json = nlohmann::json;

// Attributes beyond this size do not fit into an object header; Keras splits lists into name0, name1, ...
constexpr size_t kMaxAttributeBytes = 64512;

absl::Status Failed(const std::string& what) { return WriteError(absl::StrCat("hdf5: cannot write ", what)); }

hid_t FileType(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return H5T_IEEE_F64LE;
    case DType::kI64:
      return H5T_STD_I64LE;
    case DType::kI32:
      return H5T_STD_I32LE;
    default:
      return H5T_IEEE_F32LE;
  }
}
hid_t MemoryType(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return H5T_NATIVE_DOUBLE;
    case DType::kI64:
      return H5T_NATIVE_INT64;
    case DType::kI32:
      return H5T_NATIVE_INT32;
    default:
      return H5T_NATIVE_FLOAT;
  }
}

// One text is variable-length, a list has the width of its longest member, as h5py writes them.
absl::Status WriteText(hid_t object, const std::string& name, const std::string& text) {
  const Hdf5 type(H5Tcopy(H5T_C_S1), &H5Tclose), space(H5Screate(H5S_SCALAR), &H5Sclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const Hdf5 attribute(H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), &H5Aclose);
  const char* pointer = text.c_str();
  if (!attribute.ok() || H5Awrite(attribute.get(), type.get(), &pointer) < 0) return Failed(name);
  return absl::OkStatus();
}

absl::Status WriteTexts(hid_t object, const std::string& name, const std::vector<std::string>& texts) {
  size_t width = 1;
  for (const std::string& text : texts) width = std::max(width, text.size());
  const hsize_t count = texts.size();
  const Hdf5 type(H5Tcopy(H5T_C_S1), &H5Tclose), space(H5Screate_simple(1, &count, nullptr), &H5Sclose);
  H5Tset_size(type.get(), width);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  const Hdf5 attribute(H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), &H5Aclose);
  std::string bytes(width * texts.size(), '\0');
  for (size_t i = 0; i < texts.size(); ++i) std::copy(texts[i].begin(), texts[i].end(), bytes.begin() + i * width);
  if (!attribute.ok() || (count > 0 && H5Awrite(attribute.get(), type.get(), bytes.data()) < 0)) return Failed(name);
  return absl::OkStatus();
}

absl::Status WriteList(hid_t object, const std::string& name, const std::vector<std::string>& texts) {
  size_t width = 1;
  for (const std::string& text : texts) width = std::max(width, text.size());
  const size_t each = std::max<size_t>(1, kMaxAttributeBytes / width);
  if (texts.size() <= each) return WriteTexts(object, name, texts);
  for (size_t begin = 0, part = 0; begin < texts.size(); begin += each, ++part) {
    const std::vector<std::string> some(texts.begin() + begin, texts.begin() + std::min(texts.size(), begin + each));
    STRATA_RETURN_IF_ERROR(WriteTexts(object, absl::StrCat(name, part), some));
  }
  return absl::OkStatus();
}

// Properties of new objects of a class: without times, which would make equal files differ.
Hdf5 Timeless(hid_t of) {
  const hid_t properties = H5Pcreate(of);
  H5Pset_obj_track_times(properties, false);
  return {properties, &H5Pclose};
}

// Opens a group, making it and those above it.
Hdf5 GroupAt(hid_t file, const std::string& path) {
  const Hdf5 properties = Timeless(H5P_GROUP_CREATE);
  for (size_t at = path.find('/', 1); !path.empty(); at = path.find('/', at + 1)) {
    const std::string prefix = path.substr(0, at);
    if (H5Lexists(file, prefix.c_str(), H5P_DEFAULT) <= 0) {
      const Hdf5 made(H5Gcreate2(file, prefix.c_str(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), &H5Gclose);
      if (!made.ok()) break;
    }
    if (at == std::string::npos) break;
  }
  return Hdf5(H5Gopen2(file, path.empty() ? "/" : path.c_str(), H5P_DEFAULT), &H5Gclose);
}

absl::Status WriteDataset(hid_t file, const std::string& path, const Tensor& tensor) {
  const size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0 && !GroupAt(file, path.substr(0, slash)).ok()) return Failed(path);
  const Hdf5 properties = Timeless(H5P_DATASET_CREATE);
  const std::vector<hsize_t> sizes(tensor.shape().begin(), tensor.shape().end());
  const Hdf5 space(
      sizes.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
      &H5Sclose);
  const Hdf5 dataset(
      H5Dcreate2(file, path.c_str(), FileType(tensor.dtype()), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
      &H5Dclose);
  if (!dataset.ok()) return Failed(path);
  if (tensor.num_elements() > 0 &&
      H5Dwrite(dataset.get(), MemoryType(tensor.dtype()), H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.raw()) < 0) {
    return Failed(path);
  }
  return absl::OkStatus();
}

absl::Status WriteContent(const TensorFile& file, hid_t out) {
  for (const auto& [name, tensor] : file.tensors) STRATA_RETURN_IF_ERROR(WriteDataset(out, name, tensor));
  for (const auto& [key, value] : file.metadata) {
    if (absl::StartsWith(key, kGroup)) {
      const Hdf5 group = GroupAt(out, key.substr(sizeof(kGroup) - 1));
      if (!group.ok()) return Failed(key);
    }
    if (!absl::StartsWith(key, kAttribute)) continue;
    const size_t at = key.find('@');
    if (at == std::string::npos) continue;
    const std::string group_path = key.substr(sizeof(kAttribute) - 1, at - (sizeof(kAttribute) - 1));
    const Hdf5 group = GroupAt(out, group_path);
    if (!group.ok()) return Failed(group_path);
    const Json json = Json::parse(value, nullptr, false);
    const std::string name = key.substr(at + 1);
    if (json.is_string()) {
      STRATA_RETURN_IF_ERROR(WriteText(group.get(), name, json.get<std::string>()));
    } else if (json.is_array()) {
      STRATA_RETURN_IF_ERROR(WriteList(group.get(), name, json.get<std::vector<std::string>>()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteHdf5(const TensorFile& file, const std::string& path) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  errno = 0;
  // Long attributes need the newer format.
  const Hdf5 access(H5Pcreate(H5P_FILE_ACCESS), &H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V18);
  const Hdf5 creation = Timeless(H5P_FILE_CREATE);
  const hid_t out = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get());
  if (out < 0) return Failed("the file");
  absl::Status status = WriteContent(file, out);
  // Much of it is written only now.
  if (H5Fclose(out) < 0 && status.ok()) status = Failed("the file");
  return status;
}

}  // namespace strata::service
