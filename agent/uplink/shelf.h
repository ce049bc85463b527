// The spool as the uplink machine sees it: two lanes, hellos, and what to do with a gateway's answers.
//
// Fresh are the parcels made since the last connection (or start); at a new connection everything there becomes
// backlog, so that after an outage what is new does not wait behind hours of old. Loop thread only.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/spool/packer.h"
#include "agent/spool/spool.h"
#include "lambda/uplink.h"

namespace lambda::agent {

class SpoolShelf final : public Shelf {
 public:
  struct Requests {  // what only the node can do; none of them may call back into the shelf or the machine
    std::function<void(uint64_t boot, std::vector<uint32_t> refs)> declare;
    std::function<void()> new_boot;
    std::function<void(int64_t utc_ms)> gateway_time;
  };

  SpoolShelf(Env& env, Spool& spool, const PackerOptions& names, std::string software, Requests requests)
      : env_(env), spool_(spool), names_(names), software_(std::move(software)), requests_(std::move(requests)) {}

  void set_boot(uint64_t boot) { present_ = boot; }
  // What is spooled now is backlog. Before the machine hears of the new connection.
  void begin_connection();

  bool next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) override;
  std::span<const uint8_t> read(ParcelKey key) override;
  bool boot(size_t index, uint64_t* boot) override;
  std::span<const uint8_t> hello(uint64_t boot, uint64_t nonce) override;
  void settled(ParcelKey key) override { spool_.settled(key.boot, key.seq, key.seq); }
  void settled_through(uint64_t boot, uint64_t seq) override;
  void refused(ParcelKey key, RefusalCode code) override;
  void declare(uint64_t boot, std::span<const uint32_t> refs) override;
  void new_boot() override { requests_.new_boot(); }
  void gateway_time(int64_t utc_ms) override { requests_.gateway_time(utc_ms); }

 private:
  uint64_t fresh_from(uint64_t boot) const;

  Env& env_;
  Spool& spool_;
  const PackerOptions names_;
  const std::string software_;
  Requests requests_;
  uint64_t present_ = 0;
  std::unordered_map<uint64_t, uint64_t> fresh_from_;  // by boot; absent: began since (fresh), or was taken up since
  std::vector<uint8_t> hello_;
};

}  // namespace lambda::agent
