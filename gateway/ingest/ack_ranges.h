// Which ranges an ack lists when there are more than it has room for. Pure.
#pragma once

#include <cstddef>

#include "gateway/store/runs.h"
#include "gateway/store/store.h"
#include "lambda/messages.h"

namespace lambda::gateway {

// What to say next of a boot of which the store knows `known` (its first ranges) and of which the parcels `answered`
// were just decided as stored. First come those: an ack that leaves out the parcel which caused it would be asked for
// for ever. What is left of the room is filled with the store's ranges, lowest first. Takes off `answered` what the
// ack covers; not empty afterwards: another ack is needed.
AckState next_ack(const AckState& known, RunSet* answered, size_t ranges_max = kAckRangesMax);

}  // namespace lambda::gateway
