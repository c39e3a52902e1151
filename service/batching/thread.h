// What every thread of ours does first.
#pragma once

#include <string>

namespace strata::service {

// Names the calling thread and makes it nicer. Whatever it calls opens no parallel region of OpenMP: libgomp would make
// a pool of threads for every thread that does, while the engine shares its work among its own. Threads that it starts
// inherit the niceness.
void SetUpThread(const std::string& name, int nice);

}  // namespace strata::service
