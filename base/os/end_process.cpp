#include "base/os/end_process.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace lambda {

void end_process(int status) {
#ifdef __SANITIZE_THREAD__
  std::exit(status);  // what the sanitizer found is told by an exit handler
#endif
#ifdef __SANITIZE_ADDRESS__
  __lsan_do_leak_check();
#endif
  std::fflush(nullptr);
  ::_exit(status);
}

}  // namespace lambda
