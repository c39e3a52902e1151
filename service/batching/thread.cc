#include "service/batching/thread.h"

#include <omp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace strata::service {

void SetUpThread(const std::string& name, int nice) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  // Linux keeps a niceness for each thread. A refusal (a container's policy) only costs priority.
  if (nice != 0) setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice);
  omp_set_num_threads(1);
}

}  // namespace strata::service
