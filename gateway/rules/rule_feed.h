// The engine and what feeds it: blocks that are stored, points that came first by the live lane, and the clock.
//
// Invariants
// - Each (device, boot, ref, ordinal) is given to the engine at most once, whichever lane brought it first.
// - What the engine says is decided by what has arrived, in the order of the store's segments, not by when it was read:
//   an event arrives at its parcel's received_ms, and the clock is moved to whole seconds only, never past anything
//   that is not given yet. So a feed restored from save() that reads on says what it would have said.
// - Points of a device that arrive within `gather_ms`, by whichever lane, are sorted by time before the engine gets
//   them: a device sends the series of one minute one behind the other, and what it sends live may overtake a parcel
//   that is still being stored.
//
// Memory: a series that was ever met costs about 150 bytes, up to `series_max`; past it all are forgotten and looked up
// again (counted), but for those of which live points wait for their blocks. Where these are more than half, they go
// too, and a block may bring some of their points once more. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/env/disk.h"
#include "cep/engine.h"
#include "gateway/rules/rule_set.h"
#include "gateway/store/follow.h"
#include "gateway/store/runs.h"

namespace lambda::cep {
class StateReader;
class StateWriter;
}  // namespace lambda::cep

namespace lambda::gateway {

// What does not change while a rule is there.
struct RuleFacts {
  std::string name, file;
  std::vector<cep::ActionPlan> actions;
  uint64_t shape = 0;  // cep/shape.h, and the names of an alert's labels
  bool prints = false;
  bool alert = false;
  int64_t for_ms = 0;
};

// An output, in words.
struct RuleOutput {
  std::shared_ptr<const RuleFacts> rule;
  cep::OutputKind kind = cep::OutputKind::kRow;
  bool late = false;
  int64_t t = 0;
  int64_t on_input = -1;
  std::vector<std::pair<std::string, std::string>> key;  // names and values by name, nulls left out
  std::string fields;                                    // a JSON object
  std::string value;                                     // the first number in it; empty: none
};

struct LivePoint {
  std::string device;
  uint64_t boot = 0;
  uint32_t ref = 0;
  uint64_t ordinal = 0;
  int64_t time_ms = 0;
  double value = 0;
  std::shared_ptr<const KnownSeries> series = nullptr;  // null: known by its blocks only
};

// Of which series nothing is known yet.
struct SeriesQuestion {
  std::string device;
  uint64_t boot = 0;
  std::vector<uint32_t> refs;
};
struct SeriesAnswer {
  std::string device;
  uint64_t boot = 0;
  std::vector<std::pair<uint32_t, std::optional<KnownSeries>>> series;
  std::vector<ClockView> clocks;
};

struct RuleFeedSettings {
  std::string site;
  RuleSetSettings rules;
  int64_t gather_ms = 250;
  uint64_t gather_rows_max = 1'000'000;  // the oldest device's rows go on early, counted
  uint64_t series_max = 1'000'000;
  size_t live_runs_max = 256;           // of live ordinals of a series; what would be one more is left to the block
  uint64_t piece_bytes_max = 4u << 20;  // read by one read()
  uint64_t outputs_max = 10'000;        // in one read(), or a little more
};

// A clock that is set back further than this was wrong before; clocks are slewed, or stepped by less.
inline constexpr int64_t kClockBackMs = 300'000;

struct RuleFeedCounters {
  uint64_t records = 0, events = 0, blocks_decoded = 0, blocks_passed = 0, live_events = 0, live_known = 0,
           live_unbound = 0, live_left = 0, texts_refused = 0, undecodable = 0, timeless = 0, gather_early = 0,
           series_forgotten = 0, read_errors = 0, damaged_records = 0, begun_anew = 0;
};

class RuleFeed {
 public:
  RuleFeed(Disk& disk, RuleFeedSettings settings);
  ~RuleFeed();

  // Takes these rules from now on, for what is gathered, too. Rules that were there and have the same shape go on with
  // their state.
  void set_rules(const RuleFolder& folder);
  // The clock was set back so far that no timer would run: the same rules, without state.
  void begin_anew();
  // What set_rules() would say of the files.
  std::vector<RuleFileState> check(const RuleFolder& folder) const;
  const RuleSet& rules() const { return *set_; }
  const std::vector<std::shared_ptr<const RuleFacts>>& facts() const { return facts_; }

  // Where the next record stands that was not read.
  StorePlace position() const { return position_; }
  void set_position(StorePlace position) { position_ = position; }

  void answer(const SeriesAnswer& answer);
  // Reads on, within the settings' bounds. Returns what must be answered before it can go on; empty `refs`: nothing.
  // An error names the file; nothing of its rest was read.
  Result<SeriesQuestion> read(const std::vector<ArrivalsPiece>& pieces);
  // Points that are in no block yet; `now_ms` is when they came. Those of series of which nothing is known are left to
  // the blocks.
  void live(const std::vector<LivePoint>& points, int64_t now_ms);
  // All that arrived before `now_ms` was read.
  void tick(int64_t now_ms);
  // From when on a tick() gives what is gathered; INT64_MAX: nothing is.
  int64_t release_at() const;

  std::vector<RuleOutput> take_outputs() { return std::exchange(outputs_, {}); }
  const RuleFeedCounters& counters() const { return counters_; }
  int64_t clock_ms() const { return clock_ms_; }

  // All state but the rules.
  std::string save() const;
  // After set_rules(), before anything else. After an error it is as new, with the same rules.
  Status restore(std::string_view bytes);

 private:
  struct Series {
    int reader = -1;  // in set_->streams; -1: no rule reads it
    std::vector<cep::Value> columns;
    uint64_t blocks_end = 0;  // ordinals below came in blocks, or will
    RunSet live;              // given already, and in no block yet
    bool no_room = false;     // for one of its texts
  };
  struct Boot {
    std::unordered_map<uint32_t, Series> series;
    std::map<uint32_t, ClockView> clocks;
    bool clocks_known = false;
  };
  using BootKey = std::pair<std::string, uint64_t>;
  struct Row {
    int64_t t, at;
    double value;
    uint32_t reader;
    std::vector<cep::Value> const* columns;  // of the series, which stays while there are rows of it
  };
  struct Group {  // of a device
    int64_t first_at;
    std::vector<Row> rows;
  };

  void make_set(const RuleFolder& folder);
  void take(std::span<const cep::Output> outputs);
  void bind(Series& series, const std::string& device, const std::string& name,
            const std::vector<std::pair<std::string, std::string>>& labels);
  Boot& boot_of(const std::string& device, uint64_t boot);
  bool record(const struct ParcelRecord& parcel, SeriesQuestion* question);
  void block(const ParcelRecord& parcel, Boot& boot, const struct StoredBlock& stored, std::vector<Row>& rows);
  void gather(const std::string& device, int64_t at, std::span<const Row> rows);
  void refuse(const Series& series, int64_t t);
  void release(int64_t reached_ms);
  void give(std::map<std::string, Group>::node_type one);
  void give_rows(std::vector<Row>& rows);
  void push(const Row* rows, size_t count);
  void move_clock(int64_t to_ms);
  void forget_series();
  // Rows that are gathered, in words.
  void save_rows(cep::StateWriter& out) const;
  void restore_rows(cep::StateReader& in);
  void drop_rows();

  Disk& disk_;
  RuleFeedSettings settings_;
  RuleFolder folder_;
  std::unique_ptr<RuleSet> set_;
  std::vector<std::shared_ptr<const RuleFacts>> facts_;  // by RuleId
  std::unordered_map<std::string, int> reader_of_;       // by metric
  StorePlace position_;
  std::map<BootKey, Boot> boots_;
  uint64_t series_count_ = 0;
  std::map<std::string, Group> groups_;                // by device
  std::set<std::pair<int64_t, std::string>> waiting_;  // of them: first_at and device
  uint64_t gathered_ = 0;
  int64_t clock_ms_ = INT64_MIN;
  uint64_t next_index_ = 0;
  std::vector<RuleOutput> outputs_;
  RuleFeedCounters counters_;

  // Of push().
  struct Column;
  std::vector<Column> columns_;
  std::vector<int64_t> t_, at_;
  cep::Batch batch_;
};

}  // namespace lambda::gateway
