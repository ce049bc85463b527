// What must be true of the system, kept apart from it: which points were made, which acks were given, and what the
// bytes of the gateway's segments say.
//
// It reads segments by the documents (proto/segment.md) with the codec of the SDK and nothing of the gateway's store.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/record/record.h"
#include "lambda/parcel.h"
#include "lambda/point.h"
#include "tests/sim/sim_disk.h"

namespace lambda::sim {

struct Identity {
  std::string device;
  uint64_t boot = 0;
  uint32_t ref = 0;
  uint64_t ordinal = 0;
  auto operator<=>(const Identity&) const = default;
};
std::string to_text(const Identity& identity);

struct Stored {
  Point point{};
  uint32_t copies = 0;
};

// What the segments of a folder say.
struct SegmentContent {
  std::map<Identity, Stored> points;
  std::map<Identity, uint32_t> gaps;  // 1 << reason, of all that name it
  std::set<Identity> retired;         // were stored, and are gone by retention
};
constexpr uint32_t reason_bit(GapReason reason) {
  return 1u << static_cast<uint32_t>(reason);
}

class Oracle {
 public:
  // `folder` is where the gateway's segments are.
  Oracle(SimMedia& media, std::string folder) : media_(media), folder_(std::move(folder)) {}

  // A device took a point, and gave it this identity.
  void made(const Identity& identity, Point point);
  // The points of this device from this moment on must not be stored: it is revoked, or has another's key.
  void forbid(const std::string& device) { forbidden_.insert(device); }
  // This parcel must not be acked: forged, or in contradiction to what is stored of `against`. What retention deleted
  // contradicts nothing.
  void never_ack(const std::string& device, uint64_t boot, uint64_t seq, std::optional<Identity> against = {}) {
    never_ack_[{{device, boot}, seq}] = std::move(against);
  }
  // A number that is used again: what the ack covers is what came under it before.
  void ack_proves_nothing(const std::string& device, uint64_t boot, uint64_t seq) {
    used_again_.insert({{device, boot}, seq});
  }
  bool durable(const Identity& identity) {
    read_synced();
    return synced_.count(identity) != 0;
  }
  // Ordinals of its series and boot below this one left the device, or parcels spoke of them.
  uint64_t published_end(const Identity& identity) const {
    const auto end = published_.find({{identity.device, identity.boot}, identity.ref});
    return end == published_.end() ? 0 : end->second;
  }
  // A device whose gaps may name what it never made.
  void gaps_are_invented_by(const std::string& device) { inventors_.insert(device); }
  // Something a machine saw itself.
  void complain(std::string text) { violation(std::move(text)); }

  // Looks at a message as it is handed to the network. `now_us` only names the moment.
  void published(const std::string& topic, std::string_view payload, int64_t now_us);

  // Reads what came to the part of the disk that a power cut cannot take. Called now and then, so that what retention
  // and merging delete was seen before.
  void read_synced();
  // After a power cut of the gateway: everything acked must be there, or retired.
  void check_acked(const char* when);
  // Devices whose points are checked by their machine: check_balance() passes them over.
  void leave_to_its_machine(const std::string& device) { elsewhere_.insert(device); }
  // At rest. `must_be_stored` says whether a point of this identity must be stored, or named in a gap.
  void check_balance(const std::function<bool(const Identity&)>& must_be_stored);

  const std::vector<std::string>& violations() const { return violations_; }
  SegmentContent read_segments() const;
  uint64_t made_count() const { return made_.size(); }
  uint64_t acked_count() const { return acked_.size(); }

 private:
  using BootKey = std::pair<std::string, uint64_t>;
  struct BootState {
    std::map<uint64_t, std::vector<Identity>> waiting;  // published parcels by seq, until an ack covers them
    uint64_t floor_seq = 0;
  };

  void violation(std::string text);
  void saw_up(const std::string& device, std::string_view payload);
  void saw_down(const std::string& device, std::string_view payload, int64_t now_us);
  void check_once(const std::string& path, const RecordView& record);
  bool has_points(const BootKey& boot) const;  // in segments

  SimMedia& media_;
  const std::string folder_;
  std::map<Identity, Point> made_;
  std::set<Identity> acked_;
  std::set<std::string> forbidden_, elsewhere_, inventors_;
  std::set<Identity> late_;  // made when it was forbidden
  std::map<std::pair<BootKey, uint64_t>, std::optional<Identity>> never_ack_;
  std::set<std::pair<BootKey, uint64_t>> used_again_;
  std::map<Identity, int64_t> gaps_seen_;  // when the parcel came that told them first
  std::set<std::pair<BootKey, uint32_t>> declared_;
  std::map<BootKey, BootState> boots_;
  std::map<std::pair<BootKey, uint32_t>, uint64_t> published_;             // see published_end()
  std::map<std::pair<BootKey, uint64_t>, std::string> published_parcels_;  // their bytes, by seq
  // What was seen on the part of the disk that a power cut cannot take.
  std::set<Identity> synced_;
  std::map<Identity, uint32_t> gaps_synced_;       // reasons, as in SegmentContent
  using Place = std::pair<std::string, uint64_t>;  // file and offset
  std::map<Identity, Place> accepted_;             // where a point was taken as new: one place for ever
  std::map<std::pair<BootKey, std::string>, std::pair<Place, int64_t>> parcels_;  // by their bytes
  // How far a name's file was read. A file that takes the name of another one is read from its beginning.
  struct ReadTo {
    std::shared_ptr<const SimMedia::File> file;
    uint64_t end = 0;
  };
  std::map<std::string, ReadTo> read_to_;
  std::vector<std::string> violations_;
};

}  // namespace lambda::sim
