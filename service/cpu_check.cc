// Says which instruction set the machine lacks instead of dying of SIGILL. Compiled for every x86-64 and run before
// static initialisers, so it uses nothing but system calls.

#include <unistd.h>

#include <cstring>

namespace {

void Say(const char* text) {
  // Nothing can be done if standard error is closed.
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text, strlen(text));
}

__attribute__((constructor(101))) void CheckCpu() {
  __builtin_cpu_init();
  const char* missing = nullptr;
  if (!__builtin_cpu_supports("avx2")) missing = "AVX2";
  if (!__builtin_cpu_supports("fma")) missing = "FMA";
  if (!__builtin_cpu_supports("bmi2")) missing = "BMI2";
  if (missing == nullptr) return;
  Say("strata-server: this processor has no ");
  Say(missing);
  Say("; x86-64-v3 (Haswell, Zen or newer) is needed\n");
  _exit(1);
}

}  // namespace
