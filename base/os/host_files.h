// HostFiles of a real Linux machine.
#pragma once

#include <memory>

#include "base/env/host_files.h"

namespace lambda {

std::unique_ptr<HostFiles> make_host_files();

}  // namespace lambda
