// HDF5 files that the library itself writes: links, references to other files, sizes that are only said.
#include <hdf5.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/e2e/hostile_files.h"

namespace strata::e2e {
namespace {

// A file with what `fill` puts into it.
std::string Made(const std::string& scratch, const std::function<void(hid_t file)>& fill) {
  const std::string path = absl::StrCat(scratch, "/hostile.h5");
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  fill(file);
  H5Fclose(file);
  std::ifstream in(path, std::ios::binary);
  std::stringstream buffer;
  buffer << in.rdbuf();
  return buffer.str();
}

void Group(hid_t file, const char* name) { H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); }

void Dataset(hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& sizes, hid_t properties) {
  const hid_t space = H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr);
  H5Dclose(H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Sclose(space);
}

hid_t Chunked(const std::vector<hsize_t>& chunk) {
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
  return properties;
}

void HugeChunked(hid_t file) {
  const hid_t properties = Chunked({1024, 1024});
  Dataset(file, "w", H5T_NATIVE_FLOAT, {hsize_t{1} << 20, hsize_t{1} << 20}, properties);
  H5Pclose(properties);
}

void Overflowing(hid_t file) {
  const hid_t properties = Chunked({1024, 1, 1});
  Dataset(file, "w", H5T_NATIVE_DOUBLE, {hsize_t{1} << 31, hsize_t{1} << 31, hsize_t{1} << 31}, properties);
  H5Pclose(properties);
}

// A hundred million zeros in a few kilobytes.
void Bomb(hid_t file) {
  const hsize_t size = 100000000, chunk = 1000000;
  const hid_t properties = Chunked({chunk});
  H5Pset_deflate(properties, 9);
  H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
  Dataset(file, "w", H5T_NATIVE_FLOAT, {size}, properties);
  H5Pclose(properties);
}

void External(hid_t file) {
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(properties, "/etc/passwd", 0, 64);
  Dataset(file, "w", H5T_NATIVE_UINT8, {64}, properties);
  H5Pclose(properties);
}

void Virtual(hid_t file) {
  const hsize_t size = 16;
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &size, nullptr);
  H5Pset_virtual(properties, space, "/etc/other.h5", "/w", space);
  H5Dclose(H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, properties, H5P_DEFAULT));
  H5Sclose(space);
  H5Pclose(properties);
}

void Deep(hid_t file) {
  std::string path = "g";
  for (int i = 0; i < 60; ++i) {
    Group(file, path.c_str());
    path += "/g";
  }
}

void HardLoop(hid_t file) {
  Group(file, "a");
  H5Lcreate_hard(file, "/", file, "/a/root", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_hard(file, "/", file, "/a/again", H5P_DEFAULT, H5P_DEFAULT);
}

// The same numbers under many names: more than the file can hold.
void Amplified(hid_t file) {
  Dataset(file, "w0", H5T_NATIVE_FLOAT, {1 << 16}, H5P_DEFAULT);
  for (int i = 1; i < 5000; ++i) {
    H5Lcreate_hard(file, "w0", file, absl::StrCat("w", i).c_str(), H5P_DEFAULT, H5P_DEFAULT);
  }
}

void Compound(hid_t file) {
  const hid_t type = H5Tcreate(H5T_COMPOUND, 8);
  H5Tinsert(type, "a", 0, H5T_NATIVE_INT32);
  H5Tinsert(type, "b", 4, H5T_NATIVE_FLOAT);
  Dataset(file, "w", type, {4}, H5P_DEFAULT);
  H5Tclose(type);
}

void NamedType(hid_t file) {
  const hid_t type = H5Tcopy(H5T_NATIVE_FLOAT);
  H5Tcommit2(file, "t", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Tclose(type);
}

void References(hid_t file) { Dataset(file, "w", H5T_STD_REF_OBJ, {4}, H5P_DEFAULT); }

void Texts(hid_t file) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, H5T_VARIABLE);
  Dataset(file, "w", type, {4}, H5P_DEFAULT);
  H5Tclose(type);
}

void LongNames(hid_t file) {
  const std::string name(60000, 'n');
  Group(file, name.c_str());
}

void ParentName(hid_t file) { Dataset(file, "..", H5T_NATIVE_FLOAT, {2}, H5P_DEFAULT); }

std::string HeadAndZeros() {
  std::string bytes("\x89HDF\r\n\x1a\n", 8);
  bytes.resize(8 + 4096);
  return bytes;
}

}  // namespace

std::vector<HostileFile> HostileHdf5(const std::string& scratch) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  std::vector<HostileFile> files = {
      {"soft_link", Made(scratch, [](hid_t f) { H5Lcreate_soft("/nowhere", f, "w", H5P_DEFAULT, H5P_DEFAULT); }),
       "must be no link"},
      {"soft_link_loop", Made(scratch, [](hid_t f) { H5Lcreate_soft("/w", f, "w", H5P_DEFAULT, H5P_DEFAULT); }),
       "must be no link"},
      {"external_link",
       Made(scratch, [](hid_t f) { H5Lcreate_external("/etc/other.h5", "/w", f, "w", H5P_DEFAULT, H5P_DEFAULT); }),
       "must be no link"},
      {"external_link_beside",
       Made(scratch, [](hid_t f) { H5Lcreate_external("../in", "/", f, "w", H5P_DEFAULT, H5P_DEFAULT); }),
       "must be no link"},
      {"hard_link_loop", Made(scratch, &HardLoop), "hdf5:"},
      {"amplified_by_links", Made(scratch, &Amplified), "larger than the file can hold"},
      {"external_storage", Made(scratch, &External), "other files"},
      {"virtual_dataset", Made(scratch, &Virtual), "other files"},
      {"huge_chunked_dataset", Made(scratch, &HugeChunked), "larger than the file can hold"},
      {"overflowing_shape", Made(scratch, &Overflowing), "larger than the file can hold"},
      {"deflate_bomb", Made(scratch, &Bomb), "larger than the file can hold"},
      {"deep_groups", Made(scratch, &Deep), "nested"},
      {"compound_type", Made(scratch, &Compound), "must hold numbers"},
      {"references", Made(scratch, &References), "must hold numbers"},
      {"texts_as_data", Made(scratch, &Texts), "must hold numbers"},
      {"committed_type", Made(scratch, &NamedType), "group or a dataset"},
      {"long_name", Made(scratch, &LongNames), "name"},
      {"no_weights_at_all", Made(scratch, [](hid_t) {}), "must have layer_names or layers, got neither"},
      {"parent_name", Made(scratch, &ParentName), "must have layer_names or layers, got neither"},
      {"head_alone", std::string("\x89HDF\r\n\x1a\n", 8), "hdf5"},
      {"head_and_zeros", HeadAndZeros(), "hdf5"},
  };
  return files;
}

}  // namespace strata::e2e
