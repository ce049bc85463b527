// The parts of a node, for node.cpp (how they work together), node_boots.cpp, node_http.cpp (what is told about them)
// and node_scrape.cpp.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/door/doors.h"
#include "agent/live/answers.h"
#include "agent/live/live_lane.h"
#include "agent/memory/memory.h"
#include "agent/node.h"
#include "agent/old_boots.h"
#include "agent/rounds.h"
#include "agent/sampler.h"
#include "agent/scrape/scraper.h"
#include "agent/spool/journal.h"
#include "agent/spool/packer.h"
#include "agent/spool/spool.h"
#include "agent/uplink/connection.h"
#include "agent/uplink/shelf.h"
#include "base/metrics/metrics.h"
#include "query/http_api.h"

namespace lambda::agent {

struct Node::Parts {
  Parts(Env& in, AgentConfig configuration, SigningKey signing, std::vector<std::unique_ptr<Source>> from);
  ~Parts();

  Status start();
  void stop(std::function<void()> done);
  void begin_new_boot();
  NodeStatus status() const;

  // node.cpp
  bool enrolled() const { return !config.uplink.site.empty(); }
  void find_requests(const JournalListing& listing);
  void keep_requests();
  Status find_old_boots(JournalListing& listing, uint64_t* previous);
  void begin_boot(uint64_t previous, uint64_t first_journal);
  void make_uplink();
  void make_sampler();
  void take_row(Row row, Feeder::RowsDone done);
  void take_rows(std::vector<Row> rows, Feeder::RowsDone done, const std::optional<RequestNote>& note = std::nullopt);
  void row_made(const Row& row, uint64_t of_boot);
  void seal_timer();
  void second_timer();
  void bound_spool();
  void bound_journals();
  void keep_reserve();
  void let_memory_age();
  void finish_stop();

  // node_boots.cpp
  void forget_series();
  std::vector<bool> series_gone() const;
  void change_boot();
  void swap_boot();
  void go_on();

  // node_http.cpp
  Status listen();
  void answer(const HttpRequest& request, HttpServer::Respond respond);
  std::string status_text() const;
  void register_metrics();
  void register_live_metrics();
  void register_question_metrics();
  void register_doors();
  void tell_offenders();

  // node_scrape.cpp
  Status make_scraper();
  std::string targets_text() const;
  void register_scrape_metrics();
  void note_metric(const MetricSaid& said);
  query::MetricFactsByName metric_facts() const;

  Env& env;
  AgentConfig config;
  SigningKey key;
  std::vector<std::unique_ptr<Source>> sources;

  std::shared_ptr<void> lock;
  uint64_t boot = 0;
  int64_t started_ms = 0;
  int64_t boot_began_ms = 0;  // monotonic
  std::shared_ptr<SeriesTable> table;
  std::unique_ptr<Packer> packer;
  std::unique_ptr<Spool> spool;
  std::unique_ptr<Memory> memory;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<Rounds> rounds;
  std::unique_ptr<OldBoots> old_boots;  // none while not enrolled
  std::unique_ptr<SpoolShelf> shelf;
  std::unique_ptr<Connection> connection;
  std::unique_ptr<LiveLane> live;    // as connection: none while not enrolled
  std::unique_ptr<Answers> answers;  // the same
  std::unique_ptr<Sampler> sampler;
  std::unique_ptr<Feeder> feeder;
  std::unique_ptr<RequestMemory> requests;
  std::unique_ptr<Doors> doors;
  std::unique_ptr<Scraper> scraper;   // none without targets
  query::HttpApi::Executor executor;  // of questions; may be empty
  std::unique_ptr<query::HttpApi> api;
  std::unique_ptr<HttpServer> http;
  Metrics metrics;
  query::MetricBook metric_book;  // what scraped pages say of their metrics

  std::deque<JournalFile> old_journals;  // while not enrolled
  struct HeldRows {
    std::vector<Row> rows;
    Feeder::RowsDone done;
    std::optional<RequestNote> note;
  };
  std::deque<HeldRows> held_rows;  // while a boot is being changed
  bool swapping = false;
  bool swap_wanted = false;
  std::map<uint32_t, std::vector<Gap>> unfit;
  JournalCounters journals_before;  // of journals of boots that this process ended
  std::vector<std::string> offenders_told;
  uint64_t series_forgotten = 0;
  bool forget_withheld = false;
  int64_t forget_again_ms = 0;
  uint64_t seconds = 0;  // that second_timer() counted
  uint64_t points_unmade_held = 0;
  uint64_t points_dropped_journal = 0;
  bool disk_full = false;
  bool has_reserve = false;
  bool started = false;
  bool stopping = false;
  std::function<void()> stopped;
  EventLoop::TimerId seal = 0, second = 0, stop_limit = 0;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

inline constexpr size_t kHeldRowsMax = 256;

}  // namespace lambda::agent
