// The rules of a gateway at work: reads what is stored, tells what rules say, and survives kill -9 at any moment.
//
//   store's segments --RuleFeed, on a worker--> outputs --AlertBook--> events --Outbox--> Delivery --> receivers
//
// Invariants
// - The input queue is the store itself: rules follow its segments from a place that is saved with the engine's state.
//   They can be slow, and hold up no ack. More than `input_bytes_max` behind, they pass over what is oldest, which is
//   counted and said once.
// - A state is saved only when every event that led to it is durable in the outbox. What the engine says again after a
//   crash has the ids it had, and is told once.
// - An event leaves only when it is durable in the outbox, unless the disk fails. So what anybody was told of alerts is
//   known after a crash, also where live points that led to it are not (alert_book.h).
// - A file of rules that is wrong keeps itself out, is named by file:line:column in the log and over HTTP, and stops
//   nobody.
// - Without a file of rules nothing is read, saved or delivered; only the folder is made.
//
// Threading: the loop thread. The engine runs in tasks handed to `executor`, one at a time; without one, inside the
// loop.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/env/http_post.h"
#include "base/metrics/metrics.h"
#include "gateway/rules/alert_book.h"
#include "gateway/rules/delivery.h"
#include "gateway/rules/outbox.h"
#include "gateway/rules/rule_feed.h"
#include "gateway/store/follow.h"

namespace lambda::gateway {

struct RulesOptions {
  std::string directory;  // of the files; empty: <store.directory>/rules
  bool exec = false;
  std::vector<std::string> exec_programs;  // whole paths; with `exec`, rules may run these
  std::vector<std::string> alertmanagers;  // http://host:9093
  int64_t block_delay_ms = 90'000;         // idle and max_delay of rules that do not set them: blocks come late
  int64_t gather_ms = 250;                 // points of a device that come within are sorted by time
  int64_t snapshot_interval_ms = 10'000;
  uint64_t input_bytes_max = 256u << 20;  // behind the store
  uint64_t live_points_max = 65'536;      // waiting for the engine; further ones are left to the blocks
  uint64_t outbox_bytes_max = 16u << 20;
  uint64_t alerts_max = 100'000;  // pending and firing
  uint64_t files_max = 1'000;
  uint64_t file_bytes_max = 1u << 20;
  uint64_t folder_bytes_max = 64u << 20;
  uint64_t text_bytes_max = 64u << 20;  // of different texts in events
  uint64_t log_lines_per_s_max = 100;   // of log()
  int64_t webhook_timeout_ms = 5'000;
  int64_t retry_ms_max = 60'000;
  int64_t event_age_ms_max = 0;  // older ones are not told any more; 0: all are
  int64_t exec_ms_max = 10'000;
  uint32_t exec_count_max = 4;
  std::string ca_file;
  // From the node.
  std::string site, gateway;
};

struct RulesCounters {
  uint64_t input_skipped_bytes = 0, input_skips = 0, input_missed = 0, live_dropped = 0, snapshots = 0,
           snapshot_errors = 0, log_lines_dropped = 0, events_too_large = 0, files_refused = 0, live_requests = 0;
};

class Rules {
 public:
  using Executor = std::function<void(std::function<void()>)>;
  struct Port {
    Delivery::Publish publish;  // to the gateway's broker
    // DO live('selector', duration): devices are asked for these series for so long. May be empty.
    std::function<void(const std::string& selector, int64_t duration_ms)> live;
    // The metrics that rules read are these from now on: the live lane asks devices for them. May be empty.
    std::function<void(const std::vector<std::string>& metrics)> reads;
  };

  Rules(Env& env, RulesOptions options, Store& store, HttpPoster* http, Port port, Executor executor);
  // As a crash: nothing is saved. The executor's tasks must have run.
  ~Rules();
  Rules(const Rules&) = delete;
  Rules& operator=(const Rules&) = delete;

  // Makes the folder and begins. The error is the folder's.
  Status start();
  // Saves the state, then `done`, from the loop. Nothing is read or delivered afterwards.
  void stop(std::function<void()> done);

  // Reads the folder again: what changed runs from the next batch on.
  void reload();
  // The broker is connected (again).
  void connected();
  // Points of the live lane; each (device, boot, ref, ordinal) counts once, also against blocks.
  void live(std::vector<LivePoint> points);

  // ---- files, by name: "pumps.sql", "limits.jsonl"
  struct Checked {
    std::vector<std::string> errors;  // "pumps.sql:3:12: unknown stream ..."; empty: taken
  };
  using FileDone = std::function<void(Result<Checked>)>;
  // Checks the file together with all others; good: writes it, runs it from the next batch on, then `done`. With errors
  // in this file, or in another that was good before, nothing changes. kInvalid: no name for such a file; kFull.
  void put_file(const std::string& name, std::string text, FileDone done);
  // kNotFound. What other files need of it they miss from then on; they are kept out, and named.
  void remove_file(const std::string& name, std::function<void(Status)> done);
  Result<std::string> read_file(const std::string& name) const;

  // ---- to look at
  std::string alerts_json();       // Prometheus' /api/v1/alerts, data
  std::string rules_json();        // Prometheus' /api/v1/rules, data
  std::string files_json() const;  // ours: files, errors, counters of rules
  const std::vector<RuleFileState>& files() const { return files_; }
  std::vector<std::string> metrics_read() const { return metrics_; }  // names that some rule reads
  uint64_t behind_bytes() const { return behind_bytes_; }
  bool idle() const;  // nothing is under way, and all that is stored was read
  const AlertBook& book() const { return book_; }
  const Outbox* outbox() const { return outbox_.get(); }
  const RulesCounters& counters() const { return counters_; }
  void register_metrics(Metrics& metrics);

 private:
  struct Job;
  // A change of the files that waits its turn. `file` empty: the folder was read again.
  struct Change {
    std::string file;
    std::shared_ptr<RuleFolder> folder;
    FileDone done;
    bool checked = false;
  };

  // What a state that is being saved covers.
  struct Mark {
    StorePlace place;
    uint64_t event = 0;  // events of the outbox below this number
  };

  // ---- rules.cpp: the work; Job: rules_job.h
  void begin();
  void tick();
  void pump();
  bool fill(Job& job);
  bool fill_input(Job& job);
  void submit(const std::shared_ptr<Job>& job);
  void finished(const std::shared_ptr<Job>& job);
  void begin_anew();
  void read_failed(const Job& job);
  void note_missed(const Arrivals& arrivals);
  void open_outbox(const Job& job);
  void resume_live();
  void save(std::string feed);
  void saved(const Mark& mark, const Status& status);
  void finish_stop();
  // ---- rules_events.cpp: what rules said
  void tell(const RuleEvent& event);
  void log_event(const RuleEvent& event);
  void log_limit(const RuleOutput& output);
  bool may_log();
  std::vector<std::string> receivers_of(const RuleEvent& event) const;
  void let_go();
  void resend();
  // ---- rules_files.cpp
  Result<RuleFolder> read_folder();
  RuleText read_text(const DirEntry& entry, uint64_t left_bytes);
  void queue(Change change);
  void change_finished(const Job& job);
  void take_rules(const Job& job);
  void name_errors(const std::vector<RuleFileState>& files);
  std::string state_path() const { return options_.directory + "/state/rules.state"; }

  Env& env_;
  RulesOptions options_;
  Store& store_;
  StoreFollow& follow_;
  HttpPoster* http_;
  Port port_;
  Executor executor_;
  std::shared_ptr<RuleFeed> feed_;  // the worker's while busy_
  AlertBook book_;
  std::unique_ptr<Outbox> outbox_;  // with the first rule
  std::unique_ptr<Delivery> delivery_;

  std::shared_ptr<const RuleFolder> folder_ = std::make_shared<RuleFolder>();  // as it runs
  std::deque<Change> changes_;
  std::vector<RuleFileState> files_;
  std::vector<std::shared_ptr<const RuleFacts>> facts_;
  std::vector<std::string> metrics_;
  std::vector<cep::RuleCounters> rule_counters_;  // by facts_
  RuleFeedCounters feed_counters_;

  bool begun_ = false;          // the state was read
  bool folder_failed_ = false;  // told already
  bool active_ = false;         // there are rules, or were
  bool busy_ = false;           // a job is under way
  bool saving_ = false;
  bool save_wanted_ = false;
  bool unsaved_ = false;     // something happened since the last save
  bool alert_said_ = false;  // an alert fired or ended since
  bool told_ = false;        // something is in the outbox and may not leave yet
  bool letting_go_ = false;  // it is being synced
  int64_t save_took_ms_ = 0;
  bool stopping_ = false;
  bool final_saved_ = false;
  std::function<void()> stopped_;
  StorePlace position_;  // as far as was read
  uint64_t behind_bytes_ = 0;
  SeriesQuestion question_;
  std::vector<LivePoint> live_;
  int64_t ticked_ms_ = INT64_MIN;
  int64_t clock_ms_ = INT64_MIN;  // the engine's
  int64_t saved_mono_ms_ = 0;
  int64_t resent_mono_ms_ = 0;
  uint32_t read_failures_ = 0;
  bool skipping_ = false;  // told already
  bool missed_told_ = false;
  bool live_full_told_ = false;
  bool save_failed_told_ = false;
  bool alerts_full_told_ = false;
  int64_t log_second_ = 0;
  uint64_t log_lines_ = 0;
  int64_t release_at_ms_ = INT64_MAX;  // RuleFeed::release_at()
  EventLoop::TimerId timer_ = 0, gather_timer_ = 0;
  RulesCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lambda::gateway
