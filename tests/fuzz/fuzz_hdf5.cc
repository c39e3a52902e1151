// HDF5 files as the reader of model files meets them: the bytes choose what the library writes into a file (groups,
// links, datasets of any type and size, attributes), and whatever it is, it is refused or becomes tensors and texts.
// What a damaged file does inside the library is its own affair: the reader runs in a process of its own
// (file_tool.cc).
#include <hdf5.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/files/containers.h"
#include "service/files/hdf5_handle.h"
#include "tests/fuzz/check_read.h"

namespace {

using strata::service::Hdf5;

// Takes choices from the front of the input; zeros when it is used up.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t Next() { return at_ < size_ ? data_[at_++] : 0; }
  bool more() const { return at_ < size_; }
  uint64_t Wide() {
    uint64_t value = 0;
    for (int i = Next() % 8; i >= 0; --i) value = value << 8 | Next();
    return value;
  }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

std::string Name(Choices* c) {
  const char* const names[] = {"a", "b", "kernel:0", "model_weights", "..", "model_config", "@", "layers"};
  return names[c->Next() % 8];
}

hid_t Type(Choices* c) {
  switch (c->Next() % 10) {
    case 0:
      return H5Tcopy(H5T_NATIVE_FLOAT);
    case 1:
      return H5Tcopy(H5T_IEEE_F64BE);
    case 2:
      return H5Tcopy(H5T_NATIVE_INT8);
    case 3:
      return H5Tcopy(H5T_STD_I64BE);
    case 4:
      return H5Tcopy(H5T_STD_REF_OBJ);
    case 5: {
      const hid_t type = H5Tcopy(H5T_C_S1);
      H5Tset_size(type, c->Next() % 2 == 0 ? H5T_VARIABLE : 1 + c->Next() % 64);
      return type;
    }
    case 6: {
      const hid_t type = H5Tcreate(H5T_COMPOUND, 8);
      H5Tinsert(type, "x", c->Next() % 5, H5T_NATIVE_INT32);
      return type;
    }
    case 7:
      return H5Tenum_create(H5T_NATIVE_INT32);
    case 8:
      return H5Tvlen_create(H5T_NATIVE_INT32);
    default:
      return H5Tcreate(H5T_OPAQUE, 1 + c->Next());
  }
}

// Now and then an axis is `wide`: of any size.
hid_t Space(Choices* c, bool wide, std::vector<hsize_t>* sizes) {
  if (c->Next() % 8 == 0) return H5Screate(c->Next() % 2 == 0 ? H5S_NULL : H5S_SCALAR);
  for (int i = c->Next() % 5; i >= 0; --i) {
    sizes->push_back(c->Next() % 16 == 0 && wide ? c->Wide() >> 2 : c->Next() % 9);
  }
  return H5Screate_simple(static_cast<int>(sizes->size()), sizes->data(), nullptr);
}

void AddDataset(hid_t parent, Choices* c) {
  std::vector<hsize_t> sizes;
  const std::string name = Name(c);
  const Hdf5 type(Type(c), &H5Tclose), space(Space(c, true, &sizes), &H5Sclose);
  const Hdf5 properties(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose);
  if (!sizes.empty() && c->Next() % 2 == 0) {
    H5Pset_chunk(properties.get(), static_cast<int>(sizes.size()), std::vector<hsize_t>(sizes.size(), 2).data());
    if (c->Next() % 2 == 0) H5Pset_deflate(properties.get(), 6);
  } else if (c->Next() % 8 == 0) {
    H5Pset_external(properties.get(), "/etc/hostname", 0, 64);
  } else {
    H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_LATE);
  }
  const Hdf5 made(H5Dcreate2(parent, name.c_str(), type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT),
                  &H5Dclose);
}

void AddAttribute(hid_t object, Choices* c) {
  std::vector<hsize_t> sizes;
  const std::string name = Name(c);
  // The library holds an attribute's data in memory, and does not notice when the product of its sizes wraps around.
  const Hdf5 type(Type(c), &H5Tclose), space(Space(c, false, &sizes), &H5Sclose);
  const Hdf5 made(H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), &H5Aclose);
  if (!made.ok() || H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) > 0) return;
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  if (count < 0 || count > 4096) return;
  const std::string text(static_cast<size_t>(count) * H5Tget_size(type.get()) + 1, static_cast<char>(c->Next()));
  H5Awrite(made.get(), type.get(), text.data());
}

void Fill(hid_t parent, Choices* c, int depth) {
  while (c->more()) {
    switch (c->Next() % 7) {
      case 0:
        return;
      case 1: {
        const Hdf5 group(H5Gcreate2(parent, Name(c).c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), &H5Gclose);
        if (group.ok() && depth < 30) Fill(group.get(), c, depth + 1);
        break;
      }
      case 2:
        H5Lcreate_soft(c->Next() % 2 == 0 ? "/a" : "b", parent, Name(c).c_str(), H5P_DEFAULT, H5P_DEFAULT);
        break;
      case 3:
        H5Lcreate_external("/etc/hostname", "/", parent, Name(c).c_str(), H5P_DEFAULT, H5P_DEFAULT);
        break;
      case 4:
        H5Lcreate_hard(parent, c->Next() % 2 == 0 ? "/" : Name(c).c_str(), parent, Name(c).c_str(), H5P_DEFAULT,
                       H5P_DEFAULT);
        break;
      case 5:
        AddAttribute(parent, c);
        break;
      default:
        AddDataset(parent, c);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata::service;
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const std::string path = absl::StrCat("/tmp/strata_fuzz_", getpid(), ".h5");
  {
    const Hdf5 file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), &H5Fclose);
    STRATA_CHECK(file.ok());
    Choices choices(data, size);
    Fill(file.get(), &choices, 0);
  }
  const ContainerLimits limits{.max_tensor_bytes = 1 << 20, .max_objects = 2000};
  const auto read = ReadHdf5(path, limits);
  ::unlink(path.c_str());
  CheckRead(read, limits);
  return 0;
}
