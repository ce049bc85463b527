// The store's parts in one object: the batch under way (batch.cpp), what the index lacks (catch_up.cpp), reading
// (select.cpp), merging (merge.cpp) and retention (retention.cpp). Loop thread only, but for ReadCounters.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/record/record.h"
#include "gateway/store/block_cursor.h"
#include "gateway/store/catalog.h"
#include "gateway/store/follow.h"
#include "gateway/store/record_body.h"
#include "gateway/store/segment_writer.h"
#include "gateway/store/store.h"
#include "gateway/store/summaries.h"

namespace lambda::gateway {

class MergeJob;
class RetentionJob;

class StoreImpl final : public Store, public StoreFollow {
 public:
  StoreImpl(Env& env, StoreOptions options);
  ~StoreImpl() override;
  Status begin();

  void put(StoreRequest request, std::function<void(const Decision&)> decided) override;
  void put_hello(HelloRecord hello, std::function<void(const Status&)> done) override;
  AckState ack_state(const std::string& device, uint64_t boot) override;
  void raise_floor(const std::string& device, uint64_t boot, uint64_t floor_seq) override;
  std::optional<Declared> declared(const std::string& device, uint64_t boot, uint32_t ref) override;
  RunSet coverage(const std::string& device, uint64_t boot, uint32_t ref) override;
  std::optional<ClockView> clock(const std::string& device, uint64_t boot, uint32_t segment) override;
  bool ready() const override { return ready_; }
  bool full() const override { return full_; }
  std::vector<DeviceTotals> devices() override;
  const StoreCounters& counters() const override;
  void each_metric(const std::function<void(const std::string&, Kind, const std::string&)>& visit) override;
  Arrivals arrivals(StorePlace from) override;
  void hold_arrivals(StorePlace from) override { held_from_ = from.segment; }
  void when_stored(std::function<void()> stored) override { when_stored_ = std::move(stored); }
  std::optional<KnownSeries> series_of(const std::string& device, uint64_t boot, uint32_t ref) override;
  std::vector<ClockView> clocks_of(const std::string& device, uint64_t boot) override;
  bool merge_slice() override;
  bool retention_slice() override;
  Result<query::Selection> select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) override;
  Result<query::Selection> list(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                uint64_t series_max) override;

 private:
  friend class MergeJob;
  friend class RetentionJob;

  // ---- batch.cpp: what waits, what is under way
  struct Waiting {
    bool is_hello = false;
    StoreRequest request;
    HelloRecord hello;
    std::function<void(const Decision&)> decided;
    std::function<void(const Status&)> hello_done;
    size_t bytes() const { return 256 + request.message.size() + hello.message.size(); }
  };
  struct Item {
    Waiting waiting;
    Decision decision;
    bool needs_sync = false;  // the decision stands only if the batch's sync succeeds
    bool writes = false;
    Arrival arrival;  // when it writes a parcel
  };
  // Decided and encoded while the batch before it is synced; so it must not depend on that one, which may fail, and
  // does not know yet where in the file it will stand.
  struct Batch {
    uint8_t turn = 0;            // 0 or 1: its place in Stream::pending
    SegmentWriter::Place place;  // known when it is written
    uint64_t waiting_bytes = 0;
    std::vector<std::byte> bytes;
    uint64_t records = 0;
    uint64_t carried_bytes = 0;  // IndexedSegment::carried_bytes
    std::vector<Item> items;
    std::vector<Stream*> staged;                             // with something pending
    std::vector<Boot*> boots;                                // of the parcels
    std::map<std::pair<int64_t, uint64_t>, Digest> parcels;  // by (boot row, seq): pending in this batch
    std::function<void(const Status&)> after;                // background records that go along
  };
  enum class Step { kTaken, kDefer };
  // What a parcel would bring, found without changing anything.
  struct Finding {
    std::vector<AcceptedRun> accepted;
    std::vector<Stream*> streams;  // of each accepted run; null: not known before this parcel
    std::vector<size_t> fresh_declarations;
    std::vector<GapView> fresh_gaps;
    std::vector<ClockView> fresh_clocks;
    uint64_t points_new = 0, points_all = 0;
    bool partial = false;
    bool conflict = false, defer = false;
    std::vector<uint32_t> undeclared;
    std::string text;
  };
  void schedule_batch();
  size_t waiting_parcels() const { return queue_.size() + deferred_.size() + (open_ ? open_->items.size() : 0); }
  void decide_waiting();
  void launch();
  void fail_waiting();
  Batch& open_batch();
  std::shared_ptr<Batch> drop_open();
  Step decide(Batch& batch, Item& item);
  Step decide_hello(Batch& batch, Item& item);
  Finding examine(const Batch& batch, const Device& device, Boot& boot, const StoreRequest& request);
  void examine_declarations(const Device& device, Boot& boot, const StoreRequest& request, Finding* finding);
  void examine_block(const Batch& batch, Boot& boot, const StoreRequest& request, size_t index,
                     std::map<uint32_t, RunSet>* own, Finding* finding);
  bool twice(Stream* stream, const StoreRequest& request, size_t index, std::map<uint32_t, RunSet>* own);
  // Whether a block says what is stored of the same ordinals. Blocks that cannot be read are believed.
  bool same_content(const Boot& boot, const Stream& stream, const BlockSlip& slip);
  void write_parcel(Batch& batch, Item& item, const Device& device, Boot& boot, const Finding& finding);
  void unstage(Batch& batch);
  void settle_batch(Batch& batch, const Status& status);
  void finish_batch(const std::shared_ptr<Batch>& batch, const Status& status);
  void answer(std::shared_ptr<Batch> batch, const Status& status);
  void refuse(Waiting waiting, Verdict verdict, std::string text);
  void check_space(bool now);
  void commit_if_due(bool drain);
  // Records of background work go with the next batch; `after` runs when that is decided.
  void write_background(std::vector<std::byte> bytes, uint64_t records, std::function<void(const Status&)> after);

  // ---- catch_up.cpp: what segments hold and the index lacks
  struct CatchUp {
    uint64_t number = 0;
    uint32_t owner = 0;
    std::set<uint64_t> replaces;
    bool blocks_ready = true;  // parcels wait until it is done
    uint64_t end = 0;          // file length when the work was found
    std::function<void()> finished;
  };
  Status open_catalog();
  Status close_catalog();
  Status load();
  // The segments of a folder.
  struct FoundSegments {
    std::map<uint64_t, uint64_t> bytes;               // by number: the file's length
    std::map<uint64_t, std::set<uint64_t>> replaces;  // by each merged one in force
    std::set<uint64_t> replaced;                      // by any of them
  };
  bool compare_segments(const std::vector<DirEntry>& files);
  FoundSegments find_segments(const std::vector<DirEntry>& files);
  void read_headers(FoundSegments* found);
  bool index_is_covered(const FoundSegments& found);
  void queue_catch_up(const FoundSegments& found);
  void sync_found();
  void sync_next();
  void found_synced(uint64_t number, const Status& status);
  void names_synced(const Status& status);
  void sync_later();
  void found_durable();
  void schedule_catch_up();
  void catch_up_slice();
  bool catch_up_file(CatchUp& work, uint64_t bytes_max);
  void index_record(const CatchUp& work, const RecordView& record);
  void index_parcel(const CatchUp& work, const RecordView& record);
  void cut_torn_tail(const CatchUp& work, const std::string& path, const ScanResult& result);
  void note_damage(uint64_t number, const std::vector<RecordDamage>& damage, uint64_t count);
  Result<FileHeader> read_header(uint64_t number);
  Status mend_header(uint64_t number);
  std::optional<std::set<uint64_t>> replaces_of(uint64_t number, uint64_t bytes);
  // They are dead, durably, before their files go.
  void end_segments(const std::set<uint64_t>& numbers);
  void publish_merged(uint64_t number, const std::set<uint64_t>& replaced, uint64_t bytes);
  void become_ready();
  void index_failed();
  void retry_load();

  // ---- streams.cpp
  Stream* find_stream(const std::string& device, uint64_t boot, uint32_t ref);

  // ---- shared
  SegmentPin pin(uint64_t number);
  void bury(uint64_t number);  // its file goes when nobody reads it any more
  void delete_dying();
  // Background work that waited for the disk goes on.
  void drive_merge();
  void drive_retention();
  void drive_drop();
  bool merging(uint64_t segment) const;
  bool retiring(uint64_t segment) const;
  Result<std::vector<Point>> read_block(const std::string& path, const BlockRow& row, uint64_t boot, BlockInfo* info);

  // ---- select.cpp
  struct DeviceView;
  // What all series of one question have in common.
  struct Asked {
    int64_t from_ms, to_ms;
    bool labels_only;     // one block of a series is enough
    uint64_t blocks_max;  // that may be found
    uint64_t blocks = 0;  // found so far
  };
  Result<query::Selection> find_series(const std::vector<query::Matcher>& matchers, Asked asked, uint64_t series_max);
  DeviceView view_device(const Device& device, int64_t from_ms, int64_t to_ms, const std::vector<uint64_t>& segments);
  bool select_series(const SeriesRow& series, const DeviceView& view, Asked* asked, query::Selection* selection,
                     std::unique_ptr<query::SeriesCursor>* cursor);

  Env& env_;
  StoreOptions options_;
  std::shared_ptr<void> lock_;
  std::unique_ptr<Catalog> catalog_;
  uint64_t next_number_ = 1;
  SegmentWriter writer_;
  bool ready_ = false;
  bool full_ = false;
  int64_t space_checked_us_ = 0;

  std::deque<Waiting> queue_;                // to be decided
  std::deque<Waiting> deferred_;             // must see what becomes of the batches under way
  std::unordered_set<std::string> blocked_;  // devices of these: later ones wait behind them
  uint64_t queue_bytes_ = 0;                 // of both, and of the open batch
  std::vector<std::byte> background_;
  uint64_t background_records_ = 0;
  std::vector<std::function<void(const Status&)>> background_after_;
  std::shared_ptr<Batch> open_;    // being decided
  std::shared_ptr<Batch> flying_;  // being synced
  uint8_t turn_ = 0;               // of the next open batch
  uint64_t examination_ = 0;
  bool batch_scheduled_ = false;
  int64_t commit_due_us_ = 0;
  EventLoop::TimerId commit_timer_ = 0;
  EventLoop::TimerId retry_timer_ = 0;

  std::deque<CatchUp> behind_;
  bool catch_up_scheduled_ = false;
  std::deque<uint64_t> found_;     // files of the process before that may be in memory only
  std::deque<uint64_t> unsynced_;  // of them, those not synced yet
  std::set<uint64_t> doubtful_;    // a sync of them failed: to be written again
  bool syncing_found_ = false;
  std::vector<std::function<void()>> when_synced_;
  bool found_synced_ = true;
  uint64_t newest_ = 0;  // the last arrivals file of the process before, which may have a torn tail

  std::map<uint64_t, SegmentPin> pins_;
  std::map<uint64_t, SegmentPin> dying_;
  std::set<uint64_t> unmergeable_;  // damaged, or their merging failed: not tried again
  std::unique_ptr<MergeJob> merge_;
  std::unique_ptr<RetentionJob> retention_;
  uint64_t held_from_ = UINT64_MAX;  // hold_arrivals()
  std::function<void()> when_stored_;
  bool merge_driven_ = false, retention_driven_ = false, drop_driven_ = false;
  std::shared_ptr<ReadCounters> read_counters_ = std::make_shared<ReadCounters>();
  std::shared_ptr<Summaries> summaries_ = std::make_shared<Summaries>(options_.summaries_max);
  mutable StoreCounters counters_{};  // those kept elsewhere are brought in by counters()
  uint64_t damaged_records_ = 0;
  uint64_t start_sync_errors_ = 0;
  uint64_t chain_breaks_before_ = 0;  // of catalogs that were replaced
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace lambda::gateway
