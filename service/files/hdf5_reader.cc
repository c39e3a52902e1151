#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/files/containers.h"
#include "service/files/hdf5_handle.h"

namespace strata::service {
namespace {

using Json = nlohmann::json;

constexpr hssize_t kMaxAttributeElements = 1 << 20;
constexpr size_t kMaxNameBytes = 4096, kMaxTextBytes = size_t{64} << 20;

absl::Status Damaged(const std::string& path, const char* what) {
  return absl::DataLossError(absl::StrCat("hdf5: ", path.empty() ? "/" : path, ": ", what));
}

// The element type as which a dataset is read; HDF5 converts byte orders.
struct ElementType {
  DType dtype;
  hid_t memory;
};

absl::StatusOr<ElementType> TypeOf(const std::string& path, hid_t type) {
  const size_t size = H5Tget_size(type);
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_FLOAT && size == 4) return ElementType{DType::kF32, H5T_NATIVE_FLOAT};
  if (kind == H5T_FLOAT && size == 8) return ElementType{DType::kF64, H5T_NATIVE_DOUBLE};
  if (kind == H5T_FLOAT && size == 2) return ElementType{DType::kF32, H5T_NATIVE_FLOAT};
  if (kind == H5T_INTEGER || kind == H5T_ENUM) {
    if (kind == H5T_ENUM) return ElementType{DType::kI8, H5T_NATIVE_INT8};  // numpy's bool
    if (size <= 4) return ElementType{DType::kI32, H5T_NATIVE_INT32};
    return ElementType{DType::kI64, H5T_NATIVE_INT64};
  }
  return InvalidArgument("hdf5: ", path, ": must hold numbers, got another type");
}

class Reader {
 public:
  Reader(const ContainerLimits& limits, TensorFile* out) : limits_(limits), out_(out) {}

  absl::Status Group(hid_t group, const std::string& path, int depth) {
    if (depth > limits_.max_depth)
      return InvalidArgument("hdf5: groups may be nested ", limits_.max_depth, " deep, got more");
    STRATA_RETURN_IF_ERROR(Attributes(group, path));
    H5G_info_t info;
    if (H5Gget_info(group, &info) < 0) return Damaged(path, "a group that cannot be read");
    for (hsize_t i = 0; i < info.nlinks; ++i) {
      if (++objects_ > limits_.max_objects) {
        return absl::ResourceExhaustedError(
            absl::StrCat("hdf5: must have at most ", limits_.max_objects, " objects, got more"));
      }
      STRATA_RETURN_IF_ERROR(Member(group, path, i, depth));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Member(hid_t group, const std::string& path, hsize_t index, int depth) {
    const ssize_t size = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, nullptr, 0, H5P_DEFAULT);
    if (size <= 0 || static_cast<size_t>(size) > kMaxNameBytes) return Damaged(path, "a name that cannot be read");
    std::string name(static_cast<size_t>(size), '\0');
    H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, name.data(), name.size() + 1, H5P_DEFAULT);
    const std::string at = path.empty() ? name : absl::StrCat(path, "/", name);
    if (at.size() > kMaxNameBytes) return InvalidArgument("hdf5: names may have ", kMaxNameBytes, " bytes, got more");
    H5L_info_t link;
    if (H5Lget_info(group, name.c_str(), &link, H5P_DEFAULT) < 0) return Damaged(at, "a link that cannot be read");
    if (link.type != H5L_TYPE_HARD) return InvalidArgument("hdf5: ", at, ": must be no link, got one");
    const Hdf5 object(H5Oopen(group, name.c_str(), H5P_DEFAULT), &H5Oclose);
    if (!object.ok()) return Damaged(at, "an object that cannot be opened");
    const H5I_type_t kind = H5Iget_type(object.get());
    if (kind == H5I_GROUP) return Group(object.get(), at, depth + 1);
    if (kind == H5I_DATASET) return Dataset(object.get(), at);
    return InvalidArgument("hdf5: ", at, ": must be a group or a dataset, got another object");
  }

  absl::Status Dataset(hid_t dataset, const std::string& path) {
    const Hdf5 properties(H5Dget_create_plist(dataset), &H5Pclose);
    if (!properties.ok() || H5Pget_external_count(properties.get()) != 0 ||
        H5Pget_layout(properties.get()) == H5D_VIRTUAL) {
      return InvalidArgument("hdf5: ", path, ": must hold its own data, got a reference to other files");
    }
    const Hdf5 space(H5Dget_space(dataset), &H5Sclose), type(H5Dget_type(dataset), &H5Tclose);
    if (!space.ok() || !type.ok()) return Damaged(path, "a dataset that cannot be read");
    const int rank = H5Sget_simple_extent_ndims(space.get());
    if (rank < 0 || rank > 16) return InvalidArgument("hdf5: ", path, ": must have at most 16 axes, got ", rank);
    std::vector<hsize_t> sizes(static_cast<size_t>(std::max(rank, 1)));
    H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr);
    STRATA_ASSIGN_OR_RETURN(const ElementType element, TypeOf(path, type.get()));
    Shape shape;
    uint64_t bytes = SizeOf(element.dtype);
    for (int i = 0; i < rank; ++i) {
      shape.push_back(static_cast<int64_t>(sizes[i]));
      if (sizes[i] != 0 && bytes > limits_.max_tensor_bytes / sizes[i]) {
        return absl::ResourceExhaustedError(absl::StrCat("hdf5: ", path, ": is larger than the file can hold"));
      }
      bytes *= sizes[i];
    }
    bytes_ += bytes;
    if (bytes_ > limits_.max_tensor_bytes) {
      return absl::ResourceExhaustedError("hdf5: the datasets are larger than the file can hold");
    }
    Tensor tensor(element.dtype, shape);
    if (tensor.num_elements() > 0 &&
        H5Dread(dataset, element.memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.raw()) < 0) {
      return Damaged(path, "data that cannot be read");
    }
    out_->tensors[path] = std::move(tensor);
    return absl::OkStatus();
  }

  absl::Status Attributes(hid_t object, const std::string& path) {
    H5O_info_t info;
    if (H5Oget_info2(object, &info, H5O_INFO_NUM_ATTRS) < 0) return Damaged(path, "attributes that cannot be read");
    for (hsize_t i = 0; i < info.num_attrs; ++i) {
      if (++objects_ > limits_.max_objects) return absl::ResourceExhaustedError("hdf5: has too many attributes");
      const Hdf5 attribute(H5Aopen_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT),
                           &H5Aclose);
      if (!attribute.ok()) return Damaged(path, "an attribute that cannot be opened");
      const ssize_t size = H5Aget_name(attribute.get(), 0, nullptr);
      if (size <= 0 || static_cast<size_t>(size) > kMaxNameBytes) return Damaged(path, "an attribute's name");
      std::string name(static_cast<size_t>(size), '\0');
      H5Aget_name(attribute.get(), name.size() + 1, name.data());
      STRATA_ASSIGN_OR_RETURN(const Json value, Attribute(attribute.get(), absl::StrCat(path, "@", name)));
      out_->metadata[absl::StrCat(kAttribute, path, "@", name)] =
          value.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Attribute(hid_t attribute, const std::string& path) {
    const Hdf5 space(H5Aget_space(attribute), &H5Sclose), type(H5Aget_type(attribute), &H5Tclose);
    if (!space.ok() || !type.ok()) return Damaged(path, "an attribute that cannot be read");
    const hssize_t count = H5Sget_simple_extent_npoints(space.get());
    if (count < 0 || count > kMaxAttributeElements)
      return InvalidArgument("hdf5: ", path, ": must have at most ", kMaxAttributeElements, " elements, got ", count);
    const bool scalar = H5Sget_simple_extent_type(space.get()) == H5S_SCALAR;
    Json list = Json::array();
    if (H5Tget_class(type.get()) == H5T_STRING) {
      STRATA_RETURN_IF_ERROR(Texts(attribute, path, type.get(), space.get(), static_cast<size_t>(count), &list));
    } else if (H5Tget_class(type.get()) == H5T_INTEGER) {
      std::vector<int64_t> values(static_cast<size_t>(count));
      if (count > 0 && H5Aread(attribute, H5T_NATIVE_INT64, values.data()) < 0) return Damaged(path, "an attribute");
      list = values;
    } else if (H5Tget_class(type.get()) == H5T_FLOAT) {
      std::vector<double> values(static_cast<size_t>(count));
      if (count > 0 && H5Aread(attribute, H5T_NATIVE_DOUBLE, values.data()) < 0) return Damaged(path, "an attribute");
      list = values;
    } else {
      return Json();  // nothing that Keras writes
    }
    return scalar && !list.empty() ? Json(list[0]) : list;
  }

  absl::Status Texts(hid_t attribute, const std::string& path, hid_t type, hid_t space, size_t count, Json* list) {
    if (H5Tis_variable_str(type) > 0) {
      std::vector<char*> texts(count, nullptr);
      const Hdf5 memory(H5Tcopy(H5T_C_S1), &H5Tclose);
      H5Tset_size(memory.get(), H5T_VARIABLE);
      H5Tset_cset(memory.get(), H5Tget_cset(type));
      if (count > 0 && H5Aread(attribute, memory.get(), texts.data()) < 0) return Damaged(path, "a text");
      for (const char* text : texts) {
        const size_t size = text == nullptr ? 0 : std::strlen(text);
        if (size > kMaxTextBytes) {
          return InvalidArgument("hdf5: ", path, ": must have at most ", kMaxTextBytes, " bytes, got ", size);
        }
        list->push_back(std::string(text == nullptr ? "" : text, size));
      }
      H5Dvlen_reclaim(memory.get(), space, H5P_DEFAULT, texts.data());
      return absl::OkStatus();
    }
    const size_t width = H5Tget_size(type);
    if (width == 0 || (count > 0 && width > kMaxTextBytes / count))
      return InvalidArgument("hdf5: ", path, ": must have at most ", kMaxTextBytes, " bytes, got ", count, " times ",
                             width);
    std::string bytes(width * count, '\0');
    if (count > 0 && H5Aread(attribute, type, bytes.data()) < 0) return Damaged(path, "a text");
    for (size_t i = 0; i < count; ++i) {
      const char* begin = bytes.data() + i * width;
      list->push_back(std::string(begin, strnlen(begin, width)));
    }
    return absl::OkStatus();
  }

  const ContainerLimits limits_;
  TensorFile* const out_;
  int objects_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace

absl::StatusOr<TensorFile> ReadHdf5(const std::string& path, const ContainerLimits& limits) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);  // a file must not choose code
  const Hdf5 file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), &H5Fclose);
  if (!file.ok()) return absl::DataLossError("hdf5: the file cannot be opened: truncated or damaged");
  const Hdf5 root(H5Gopen2(file.get(), "/", H5P_DEFAULT), &H5Gclose);
  if (!root.ok()) return absl::DataLossError("hdf5: the file has no root group");
  TensorFile out;
  STRATA_RETURN_IF_ERROR(Reader(limits, &out).Group(root.get(), "", 0));
  return out;
}

}  // namespace strata::service
