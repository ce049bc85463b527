// Reading what devices publish on `live`. Bytes: proto/lambda.proto; meaning: proto/parcel.md, "The live lane". Taken
// as hostile: who sent it is known by the topic alone, and a message may unfold to a thousand times its size. Pure: any
// one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gateway/ingest/up_message.h"
#include "gateway/store/store.h"
#include "lambda/block.h"

namespace lambda::gateway {

inline constexpr size_t kLiveBlocksMax = 4096;
inline constexpr size_t kLiveDeclarationsMax = 4096;
inline constexpr uint64_t kLivePointsMax = 65'536;

struct LiveBlock {
  BlockInfo info;
  std::vector<Point> points;
};

struct LiveMessage {
  uint64_t boot = 0;
  uint64_t interest_version = 0;
  std::vector<Declared> declarations;
  std::vector<LiveBlock> blocks;
};

// All of the message, or why none of it.
Decoded decode_live(std::span<const std::byte> message, LiveMessage* live);

}  // namespace lambda::gateway
