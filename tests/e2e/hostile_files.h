// Files that mean harm, made byte by byte or by the formats' own libraries.
#pragma once

#include <string>
#include <vector>

namespace strata::e2e {

struct HostileFile {
  std::string name;
  std::string bytes;
  // They must be in the refusal.
  std::string words;
};

// A safetensors file from its header's text, with this many bytes of data.
std::string Safetensors(const std::string& header, size_t data_bytes);

struct ZipEntry {
  std::string name, bytes;
  // What the directory says; -1: the truth.
  int64_t claimed_size = -1, claimed_offset = -1;
};
// Stored members.
std::string Zip(const std::vector<ZipEntry>& entries);

std::vector<HostileFile> HostileSafetensors();
// `weights` is a good HDF5 file of weights, `config` the architecture that belongs to it.
std::vector<HostileFile> HostileArchives(const std::string& weights, const std::string& config);
// `scratch` is a folder for files on the way.
std::vector<HostileFile> HostileHdf5(const std::string& scratch);
std::vector<HostileFile> HostileTexts();

}  // namespace strata::e2e
