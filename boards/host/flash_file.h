// A file in place of NOR flash. It obeys flash's rules, so that code which breaks them fails here too: a write goes to
// a place that was erased since the last one, or it is an error. What was written is the operating system's when the
// process is killed; a computer that loses power may lose it (nothing is synced).
#pragma once

#include "lambda/flash.h"

namespace lambda::boards {

// Opens it, or makes a blank one. Null, with errno set: it cannot be used.
const lam_flash_port* open_flash_file(const char* path);

}  // namespace lambda::boards
