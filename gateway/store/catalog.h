// What the store knows: devices, boots, streams and where their points stand. Memory in front, the index behind.
//
// settle() makes an arrival count in memory at once; its rows go to the index with drain(), later, while the disk is at
// the next batch. Every question that needs the index drains first. Coverage and settled seqs live in
// least-recently-used caches of bounded size; what was changed in them is written at commit() or when it leaves the
// cache.
//
// Pointers returned stay good until the next trim(). Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gateway/store/index.h"
#include "gateway/store/runs.h"
#include "gateway/store/store.h"

namespace lambda::gateway {

inline constexpr size_t kBootsCachedMax = 8192;

struct Device {
  DeviceRow row;
  bool changed = false;
};

struct Boot {
  BootRow row;
  uint64_t last_seq = 0;
  Digest last_digest{};
  uint32_t under_way = 0;     // parcels of it in the batches under way
  uint8_t hello_pending = 0;  // a bit for each of the two batches under way
  bool changed = false;

  // Every seq up to this one is settled.
  uint64_t contiguous() const;
};

// The points of one (device, boot, ref).
struct Stream {
  StreamRow row;
  RunSet stored;  // durable, also what retention has deleted since
  bool declared = false;
  struct Pending {
    RunSet runs;
    bool declared = false;
    bool any() const { return declared || !runs.empty(); }
  };
  Pending pending[2];    // in each of the two batches under way: one is synced while the other is decided
  bool changed = false;  // `stored` is newer than the index
  size_t counted_bytes = 0;
  uint64_t examination = 0, examined_end = 0;  // the parcel last looked at, and where its last block here ends
};

struct PlacedBlock {
  uint32_t ref = 0;
  uint64_t first = 0;  // of the run that counts
  uint32_t count = 0;
  uint32_t clock = 0;
  int64_t t_min = 0, t_max = 0;
  uint64_t offset = 0;  // of the block's bytes in the file
  uint32_t length = 0;
  int64_t stream = 0;    // filled by settle()
  Stream* at = nullptr;  // its stream where it is known; something is pending in it, so that it stays
};

// A parcel that is durable now.
struct Arrival {
  std::string device;
  uint64_t boot = 0, seq = 0, floor_seq = 0;
  int64_t received_ms = 0;
  Digest digest{}, previous{};
  std::vector<Declared> declarations;
  std::vector<PlacedBlock> blocks;
  std::vector<GapView> gaps;
  std::vector<ClockView> clocks;
  uint64_t segment = 0;
  uint64_t end = 0;        // of its record in the file: the index has read so far
  bool seq_known = false;  // filled by settle(): it was settled before
};

class Catalog {
 public:
  // `index_path` empty: in memory. `made`: the index is new, or was unusable and is begun anew.
  static Result<std::unique_ptr<Catalog>> open(const std::string& index_path, uint64_t coverage_bytes_max,
                                               uint32_t small_points, bool* made);

  // Drained: it knows all that was settled.
  Index& index();
  bool ok() const { return index_->ok(); }

  Device* find_device(const std::string& name);
  Device* find_device(int64_t id);
  Device& device(const std::string& name);
  const std::map<std::string, Device>& devices() const { return devices_; }
  Boot* find_boot(const Device& device, uint64_t boot);
  Boot& boot(const Device& device, uint64_t boot);
  Stream* find_stream(const Boot& boot, uint32_t ref);  // null: never heard of
  Stream& stream(const Boot& boot, uint32_t ref);
  // Whether a stream's declaration says the same as this one.
  bool declared_alike(const Device& device, const Stream& stream, const Declared& declared);

  void settle(Arrival arrival);
  void settle_hello(const HelloRecord& hello, uint64_t segment, uint64_t end);
  // So many bytes of the segment's records outlive it.
  void carried(uint64_t segment, uint64_t bytes);
  // A block found in a segment, whatever is known of its ordinals. Those that another segment holds too are left to
  // that one and returned (0 when all is well); what `replaced` segments hold does not count: they end when this one is
  // read. While one of these is still in force nobody is asked at all: each block of a merge would ask every segment.
  uint64_t place(const std::string& device, uint64_t boot, PlacedBlock block, uint64_t segment,
                 const std::set<uint64_t>& replaced);
  void retire(const std::string& device, uint64_t boot, uint32_t ref, OrdinalRun run);
  // The boot's declarations and clock segments are in no segment any more: whoever needs them must bring them again.
  void undeclare(const Boot& boot);
  void retire_gap(const std::string& device, uint64_t boot, const GapView& gap);

  // Stored blocks with ordinals of [first, end), the newest segments first; none may be missing of what is stored there
  // and was not retired.
  std::vector<BlockRow> overlapping(const Boot& boot, const Stream& stream, uint64_t first, uint64_t end);
  // Segments in force that may have points of times in [from, to], ascending.
  std::vector<uint64_t> segments_in(int64_t from, int64_t to) const;
  // Of these, or of all, those that may have points of the boot, the newest first.
  static std::vector<uint64_t> segments_of(const BootRow& boot, const std::vector<uint64_t>& among);
  std::vector<uint64_t> segments_of(const BootRow& boot) const;

  std::map<uint64_t, IndexedSegment>& segments() { return segments_; }
  // Marks a segment's row as changed.
  IndexedSegment& segment(uint64_t number);
  // It was replaced or retired: nothing is found in it any more.
  void end_segment(uint64_t number);
  // Its file is gone. What the index has of it goes with drop_slice().
  void forget_segment(uint64_t number);
  // Removes a bounded number of rows of forgotten segments; true: there are more.
  bool drop_slice();
  // All of the file up to `end` was settled.
  void advance(uint64_t number, uint64_t end);
  // The same for a file that is read again, at once.
  void indexed(uint64_t number, uint64_t end);
  // How far files were settled that the index does not have as far yet; by number.
  const std::map<uint64_t, uint64_t>& ahead_of_index() const { return ahead_of_index_; }
  // The file will not grow; no error when it is not known.
  void seal(uint64_t number);

  void drain();
  void write_boots();  // those that changed, for questions across boots
  void commit(bool durable = false);
  uint64_t uncommitted() const { return index_->uncommitted() + queue_.size(); }
  // Of segments: what would have to be read again if the process ended now.
  uint64_t uncommitted_bytes() const { return uncommitted_bytes_; }
  // Brings the caches within their bounds.
  void trim();
  size_t coverage_bytes() const { return stream_bytes_; }
  uint64_t chain_breaks() const { return chain_breaks_; }

  void mark(Device& device) { device.changed = true; }
  void mark(Boot& boot);
  void mark(Stream& stream);

 private:
  Catalog(std::unique_ptr<Index> index, uint64_t coverage_bytes_max, uint32_t small_points);
  void index_arrival(const Arrival& arrival);
  void declare(const Device& device, const Boot& boot, const Declared& declared);
  void check_chain(Device& device, Boot& boot, const Arrival& arrival);
  void widen(Boot& boot, Device& device, IndexedSegment& segment, const PlacedBlock& block);
  void prune(RunSet* segments) const;
  void write_changed();
  void write_held();
  void account(Stream& stream);

  struct StreamKey {
    int64_t boot;
    uint32_t ref;
    friend bool operator==(const StreamKey&, const StreamKey&) = default;
  };
  struct BootKey {
    int64_t device;
    uint64_t boot;
    friend bool operator==(const BootKey&, const BootKey&) = default;
  };
  struct Hash {
    size_t operator()(const StreamKey& key) const { return mixed(static_cast<uint64_t>(key.boot) << 32 ^ key.ref); }
    size_t operator()(const BootKey& key) const {
      return mixed(static_cast<uint64_t>(key.device) * 0x9E3779B97F4A7C15u ^ key.boot);
    }
    static size_t mixed(uint64_t value) {
      value = (value ^ value >> 33) * 0xFF51AFD7ED558CCDu;
      return value ^ value >> 33;
    }
  };

  std::unique_ptr<Index> index_;
  uint64_t coverage_bytes_max_;
  uint32_t small_points_;
  int64_t next_device_ = 1, next_boot_ = 1, next_series_ = 1, next_stream_ = 1;
  std::map<std::string, Device> devices_;
  std::unordered_map<int64_t, Device*> device_at_;  // by id
  std::list<Boot> boots_;                           // the most recently used first
  std::unordered_map<BootKey, std::list<Boot>::iterator, Hash> boot_at_;
  std::list<Stream> streams_;
  std::unordered_map<StreamKey, std::list<Stream>::iterator, Hash> stream_at_;
  size_t stream_bytes_ = 0;
  std::map<uint64_t, IndexedSegment> segments_;
  std::set<uint64_t> segments_changed_;
  std::map<uint64_t, uint64_t> ahead_of_index_;
  std::vector<Stream*> streams_changed_;
  std::vector<Boot*> boots_changed_;
  std::map<std::pair<uint64_t, int64_t>, int64_t> held_;  // blocks by (segment, device), not written yet
  std::vector<uint64_t> dropping_;                        // forgotten segments whose rows are still there
  std::deque<Arrival> queue_;
  uint64_t chain_breaks_ = 0;
  uint64_t uncommitted_bytes_ = 0;
};

}  // namespace lambda::gateway
