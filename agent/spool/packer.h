// Makes signed parcels out of sealed blocks, gaps, clock segments and declarations, as many as fit.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "agent/spool/spool_state.h"
#include "base/crypto/crypto.h"
#include "lambda/series_store.h"

namespace lambda::agent {

struct PackerOptions {
  std::string site;
  std::string device;
  uint64_t parcel_bytes_max = 256u << 10;
};

// A sealed block that waits for its parcel. Its bytes lie in the memory's store (`id`) or at `data`.
struct BlockHead {
  BlockInfo info;
  uint32_t bytes = 0;
  uint8_t root[kDigestBytes] = {};
  BlockId id;
  const uint8_t* data = nullptr;
};

class BlockFeed {
 public:
  virtual ~BlockFeed() = default;
  virtual bool peek(BlockHead* head) = 0;  // the next one; false: no more
  virtual void take() = 0;                 // go on behind it
  // The bytes of a block taken before; false: it is gone.
  virtual bool copy(const BlockHead& head, std::span<uint8_t> out) = 0;
};

struct PackInput {
  BlockFeed* blocks = nullptr;   // may be null
  std::deque<uint32_t> declare;  // refs to declare whether or not they were
  std::deque<Gap> gaps;
  std::deque<Clock64> clocks;
};

struct Packed {
  std::vector<uint8_t> up;  // the Up message
  Digest digest{};
  uint64_t seq = 0;
  std::vector<BlockHead> blocks;
  uint64_t points = 0;
};

class Packer {
 public:
  // `key` must outlive this.
  Packer(PackerOptions options, const SigningKey& key) : options_(std::move(options)), key_(key) {}

  // The boot's next parcel: takes from the front of `input` what fits. False: nothing was left to pack. What alone is
  // larger than a parcel is dropped and named in `too_large`, so that nothing can block what is behind it.
  bool pack(const Boot& boot, int64_t created_ms, PackInput& input, Packed* packed, std::vector<BlockHead>* too_large);

  const PackerOptions& options() const { return options_; }

 private:
  PackerOptions options_;
  const SigningKey& key_;
  std::vector<uint8_t> block_;
};

std::vector<uint8_t> sign_hello(const SigningKey& key, const PackerOptions& options, uint64_t boot,
                                uint64_t previous_boot, int64_t started_ms);

}  // namespace lambda::agent
