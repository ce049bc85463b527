// Reading one declaration of a series, whichever message brought it. Hostile input. Pure: any one thread.
#pragma once

#include "gateway/ingest/up_message.h"

namespace lambda::v1 {
class Declaration;
}

namespace lambda::gateway {

// Checks `from`, the item of this index in its message, into `to`.
Decoded read_declaration(const v1::Declaration& from, int index, Declared* to);

}  // namespace lambda::gateway
