// A device that packs the same points again and again in other ways, as one does whose memory was restored from a copy:
// its boot and its points stay, the runs of ordinals in its parcels overlap at random. Now and then it sends what must
// never be acked: a parcel signed with another key, one that gives an acked ordinal another value, one that has
// ordinals twice. It tells gaps, also more than once, and in the end a new point under a number that was acked long
// ago.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lambda/block.h"
#include "tests/sim/machines.h"

namespace lambda::sim {

class PackerMachine final : public Machine {
 public:
  PackerMachine(World& world, Oracle& oracle, std::string name);
  ~PackerMachine() override { kill(); }
  void start() override;
  void kill() override;

  const PublicKey& public_key() const { return key_.public_key_; }
  // No new points and no bad parcels; one parcel for every point, until all are acked.
  void finish();
  uint64_t waiting() const { return outstanding_.size() + (finishing_ && !number_used_again_ ? 1 : 0); }
  uint64_t boot() const { return boot_; }

 private:
  struct Key {
    explicit Key(Random& random) : key(SigningKey::make(random)), public_key_(key.public_key()) {}
    SigningKey key;
    PublicKey public_key_;
  };
  enum class Sort { kGood, kForged, kConflict, kDoubled, kGap };

  void tick();
  void send_new();
  void send_bad();
  void send_gap();
  void use_number_again();
  std::string block(size_t first, size_t* count, Sort sort, BlockInfo* info, uint8_t* root);
  std::string parcel(uint64_t seq, size_t first, size_t count, Sort sort);
  void publish(const std::string& message);
  void down(std::span<const std::byte> payload);

  Oracle& oracle_;
  SimRandom key_random_;
  Key key_, other_key_;
  const uint64_t boot_;
  std::string up_topic_, down_topic_;
  std::vector<Point> points_;
  uint64_t next_seq_ = 1;
  struct Sent {
    std::string message;
    size_t first = 0, count = 0;
  };
  std::map<uint64_t, Sent> outstanding_;
  std::vector<bool> acked_;  // by ordinal
  std::unique_ptr<MessageBus> bus_;
  bool connected_ = false;
  bool finishing_ = false;
  uint64_t gaps_ = 0;        // ordinals of another series that it says are lost
  uint64_t last_acked_ = 0;  // seq
  std::string again_;        // the parcel under that number
  bool number_used_again_ = false;
};

}  // namespace lambda::sim
