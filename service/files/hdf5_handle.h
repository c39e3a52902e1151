// Owns an HDF5 identifier.
#pragma once

#include <hdf5.h>

namespace strata::service {

class Hdf5 {
 public:
  Hdf5(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Hdf5(const Hdf5&) = delete;
  Hdf5& operator=(const Hdf5&) = delete;
  ~Hdf5() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  const hid_t id_;
  herr_t (*const close_)(hid_t);
};

}  // namespace strata::service
