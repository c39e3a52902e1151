// What every thread of ours does first.
#pragma once

#include <string>

namespace strata::service {

// Names the calling thread and makes it nicer. Unless it `trains`, kernels that it calls stay on it: libgomp would make
// a pool of threads for every thread that runs a parallel region. Threads that it starts inherit the niceness.
void SetUpThread(const std::string& name, int nice, bool trains);

}  // namespace strata::service
