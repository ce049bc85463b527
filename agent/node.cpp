#include "agent/node.h"

#include <algorithm>
#include <utility>

#include "agent/node_parts.h"
#include "base/record/record.h"

namespace lambda::agent {
namespace {

constexpr const char* kReserveName = "reserve.bin";
constexpr const char* kRequestsName = "requests.lam";
constexpr int64_t kSecondMs = 1'000;
constexpr uint64_t kForgetLookS = 10;

JournalCounters sum(JournalCounters a, const JournalCounters& b) {
  a.rows += b.rows;
  a.points += b.points;
  a.points_unmade += b.points_unmade;
  a.bytes += b.bytes;
  a.syncs += b.syncs;
  a.append_errors += b.append_errors;
  a.sync_errors += b.sync_errors;
  a.rows_repeated += b.rows_repeated;
  return a;
}

}  // namespace

Node::Parts::Parts(Env& in, AgentConfig configuration, SigningKey signing, std::vector<std::unique_ptr<Source>> from)
    : env(in), config(std::move(configuration)), key(std::move(signing)), sources(std::move(from)) {
  config.uplink.device = config.device;
  config.journal.dir = config.state_dir;
  config.spool.dir = config.state_dir;
  config.spool.series_max = config.series_max;
}

Node::Parts::~Parts() {
  *alive = false;
  env.loop.cancel(seal);
  env.loop.cancel(second);
  env.loop.cancel(stop_limit);
}

Status Node::Parts::start() {
  Disk& disk = env.disk;
  if (auto status = disk.make_dirs(config.state_dir); !status) return status;
  auto taken = disk.lock(config.state_dir + "/lock");
  if (!taken) return tl::unexpected(taken.error());
  lock = *taken;

  packer = std::make_unique<Packer>(PackerOptions{config.uplink.site, config.device, config.parcel_bytes_max}, key);
  spool = std::make_unique<Spool>(env, config.spool);
  if (enrolled()) {
    if (auto status = spool->open(); !status) return status;
  }
  auto listing = list_journals(disk, config.state_dir);
  if (!listing) return tl::unexpected(listing.error());
  for (const std::string& name : listing->foreign) env.log.error("journal_left_alone", {{"file", name}});
  for (const uint64_t number : listing->empty) {
    (void)disk.remove(config.state_dir + "/" + numbered_name("journal-", number));
  }
  for (const uint64_t number : listing->bad) spool->quarantine(numbered_name("journal-", number));

  rounds = std::make_unique<Rounds>(
      Rounds::Parts{
          env,
          *(memory = std::make_unique<Memory>(
                MemoryOptions{config.memory_bytes_max, config.series_max, config.retention_ms,
                              static_cast<uint32_t>(std::clamp<uint64_t>(config.parcel_bytes_max / 2, 512, 8192) & ~7u),
                              config.device, config.uplink.site},
                boot = std::max<uint64_t>(1, env.random.u64()))),
          *spool, *packer, config.state_dir, config.journal.keep},
      [this] {
        if (connection != nullptr) connection->wake();
      });
  find_requests(*listing);
  memory->tick(env.clock.mono_ms());  // it must know the time before it seals: retention counts from then
  uint64_t previous = 0;
  if (auto status = find_old_boots(*listing, &previous); !status) return status;
  begin_boot(previous, listing->number_max + 1);
  if (enrolled()) {
    make_uplink();
    spool->start([this] {
      rounds->spool_started();
      if (connection != nullptr) connection->wake();
    });
  }
  make_sampler();
  if (auto status = make_scraper(); !status) return status;
  if (auto status = listen(); !status) return status;
  register_metrics();
  sampler->start(std::move(sources));
  if (scraper != nullptr) scraper->start();
  keep_reserve();
  seal_timer();
  second_timer();
  started = true;
  env.log.info("started", {{"device", config.device},
                           {"site", config.uplink.site},
                           {"boot", boot},
                           {"backlog_parcels", spool->parcels_left()},
                           {"journals", uint64_t{listing->files.size()}}});
  if (!enrolled())
    env.log.warn("not_enrolled", {{"do", "lambda-agent --request, lambda enroll, lambda-agent --install"}});
  if (connection != nullptr) connection->start();
  return {};
}

// The newest journal says which requests the start before took, or what an orderly end wrote when it left none. An
// earlier one may still have a request that could not be written, and that the one after it does not repeat.
void Node::Parts::find_requests(const JournalListing& listing) {
  requests = std::make_unique<RequestMemory>(config.doors.requests_bytes_max);
  const auto take = [&](const std::string& name) {
    for (const RequestNote& note : read_requests(env.disk, config.state_dir + "/" + name)) requests->add(note);
  };
  take(kRequestsName);
  if (!listing.files.empty()) take(numbered_name("journal-", listing.files.back().number));
}

void Node::Parts::keep_requests() {
  if (!config.doors_enabled || requests->size() == 0) return;
  std::vector<std::byte> bytes;
  append_file_header(bytes, {FileKind::kJournal, 0, env.clock.utc_ms(), 0});
  JournalEncoder::requests(requests->all(), bytes);
  if (auto status = env.disk.replace(config.state_dir + "/" + kRequestsName, bytes); !status) {
    env.log.warn("requests_not_kept", {{"error", status.error().text}});
  }
}

// Boots that journals or the spool still hold, in their order; the present one comes after the last of them.
Status Node::Parts::find_old_boots(JournalListing& listing, uint64_t* previous) {
  if (!enrolled()) {
    for (const JournalFile& file : listing.files) {
      *previous = file.head.boot;
      old_journals.push_back(file);
    }
    return {};
  }
  old_boots = std::make_unique<OldBoots>(
      OldBoots::Parts{env, *spool, *rounds, *packer, key, config.state_dir, config.series_max, config.old_boots_max});
  old_boots->found(std::move(listing.files));
  *previous = old_boots->newest();
  for (const auto& known : spool->state().boots()) {
    if (known->hello_signature.size() == 64) continue;
    // Its Begun was lost, or it was begun before the enrolment.
    known->hello_signature = sign_hello(key, packer->options(), known->id, known->previous, known->started_ms);
    spool->tell_boot(*known);
  }
  return {};
}

void Node::Parts::begin_boot(uint64_t previous, uint64_t first_journal) {
  started_ms = env.clock.utc_ms();
  boot_began_ms = env.clock.mono_ms();
  if (table == nullptr) table = std::make_shared<SeriesTable>(config.series_max);
  memory->set_table(table);
  if (journal != nullptr) journals_before = sum(journals_before, journal->counters());
  journal =
      std::make_unique<Journal>(env, config.journal, JournalHead{boot, previous, started_ms, 0}, *table, first_journal);
  journal->carry_requests([this] { return requests->all(); });
  if (!enrolled()) return;
  Boot& present = spool->begin_boot(boot, previous, started_ms, table,
                                    sign_hello(key, packer->options(), boot, previous, started_ms));
  present.clocks.push_back({0, false, 0, true});
  rounds->set_present(boot, *journal);
  if (shelf != nullptr) shelf->set_boot(boot);
  if (live != nullptr) live->begin_boot(boot, table);
  if (answers != nullptr) answers->set_table(table);
}

void Node::Parts::make_uplink() {
  shelf = std::make_unique<SpoolShelf>(
      env, *spool, packer->options(), std::string("lambda-agent ") + kVersion,
      SpoolShelf::Requests{[this](uint64_t id, std::vector<uint32_t> refs) { rounds->declare(id, std::move(refs)); },
                           [this] {
                             env.loop.post([this, living = alive] {
                               if (*living) begin_new_boot();
                             });
                           },
                           [](int64_t) {}});
  shelf->set_boot(boot);
  connection = std::make_unique<Connection>(env, config.uplink, *shelf);
  live = std::make_unique<LiveLane>(
      env, config.live, config.device, config.uplink.site,
      LivePorts{[this](std::span<const uint8_t> message) { return connection->publish_live(message); },
                [this] { return connection->outgoing_bytes(); },
                [this](SeriesRef ref, std::span<uint8_t> out) { return memory->store().copy_open(ref, out); }});
  live->begin_boot(boot, table);
  answers = std::make_unique<Answers>(
      env, memory->store(),
      AnswersPorts{[this](std::span<const uint8_t> message) { return connection->publish_up(message); },
                   [this] { return connection->outgoing_bytes(); }});
  answers->set_table(table);
  connection->listen({[this] { live->connected(); },
                      [this] {
                        live->disconnected();
                        answers->disconnected();
                      },
                      [this](std::span<const uint8_t> message) { live->interest(message); },
                      [this](std::span<const uint8_t> message) { return answers->incoming(message); }});
}

void Node::Parts::make_sampler() {
  sampler = std::make_unique<Sampler>(env, config.clock_step_ms,
                                      Sampler::Handlers{[this](SeriesRef ref) { memory->add_series(*table, ref); },
                                                        [this](uint32_t segment) {
                                                          if (Boot* present = spool->state().find(boot)) {
                                                            present->clocks.push_back({segment, false, 0, true});
                                                            rounds->live(false, {});
                                                          }
                                                        },
                                                        [this](Row row) { take_row(std::move(row), {}); }});
  sampler->set_table(table);
  feeder = std::make_unique<Feeder>(
      config.doors.feed,
      Feeder::Ports{[this](const SeriesSpec& spec, bool may_add, bool* fresh) {
                      return sampler->add_series(spec, kOwnerDoors, may_add, fresh);
                    },
                    [this](std::vector<Row> rows, const std::optional<RequestNote>& note, Feeder::RowsDone done) {
                      take_rows(std::move(rows), std::move(done), note);
                    },
                    [this] { return env.clock.utc_ms(); }, [this] { return sampler->segment(); },
                    [this](const MetricSaid& said) { note_metric(said); }});
  doors = std::make_unique<Doors>(config.doors, *feeder, *requests, env.clock);
}

// ---- A point's way: row -> journal -> memory

// `done`, when there is one, runs when the rows were decided, and synced if that is wanted; not any more once this
// ends.
void Node::Parts::take_rows(std::vector<Row> rows, Feeder::RowsDone done, const std::optional<RequestNote>& note) {
  const auto refuse = [&](ErrorCode code, const char* why) {
    for (const Row& row : rows) points_unmade_held += row.points.size();
    if (done == nullptr) return;
    env.loop.post([living = alive, done = std::move(done), rows = std::move(rows), code, why] {
      if (*living) done(fail(code, why), rows);
    });
  };
  if (stopping) return refuse(ErrorCode::kUnavailable, "the agent is stopping");
  if (swapping) {
    if (held_rows.size() >= kHeldRowsMax) return refuse(ErrorCode::kFull, "a new boot is begun");
    held_rows.push_back({std::move(rows), std::move(done), note});
    return;
  }
  const auto made = [this, living = alive, of = boot](const Row& row) {
    if (*living) row_made(row, of);
  };
  const auto decided = [this, living = alive, done = std::move(done), note](const Status& status,
                                                                            std::span<const Row> written) {
    if (!*living) return;
    if (status && note) requests->add(*note);  // before the next journal file begins
    if (!status && status.error().code == ErrorCode::kFull) disk_full = true;
    if (done == nullptr) return;
    if (!status || !config.doors.synced) return done(status, written);
    journal->after_sync([living, done, rows = std::vector<Row>(written.begin(), written.end())] {
      if (*living) done({}, rows);
    });
  };
  journal->append(std::move(rows), made, decided, note);
}

void Node::Parts::take_row(Row row, Feeder::RowsDone done) {
  std::vector<Row> one;
  one.push_back(std::move(row));
  take_rows(std::move(one), std::move(done));
}

void Node::Parts::row_made(const Row& row, uint64_t of_boot) {
  LAMBDA_ASSERT(of_boot == boot);
  std::vector<Gap> lost;
  for (const RowPoint& point : row.points) {
    const uint64_t ordinal = table->at(point.ref).next_ordinal - 1;
    if (!memory->append(point.ref, ordinal, {row.time_ms, point.bits}, row.clock)) {
      lost.push_back({{point.ref, ordinal, 1}, GapReason::kMemory});
    }
  }
  if (live != nullptr && live->listening()) live->row(row);
  if (!lost.empty() && enrolled()) spool->add_gaps(boot, lost);
  if (enrolled() && memory->wants_round() && !rounds->live_waiting()) rounds->live(false, {});
}

// ---- What happens by the clock

void Node::Parts::seal_timer() {
  seal = env.loop.after(config.seal_age_ms, [this] {
    seal_timer();
    if (enrolled()) {
      if (!swapping) rounds->live(false, {});
      rounds->name_gaps();
      return;
    }
    let_memory_age();
    journal->rotate(false, [](uint64_t) {});
  });
}

// Nothing can be packed: what is in memory may go as it ages, the journal has it.
void Node::Parts::let_memory_age() {
  SeriesStore& store = memory->store();
  store.seal_all();
  SealedBlock block;
  while (store.first(BlockState::kLoose, &block)) store.safe(block.id);
  StoreGap gap;
  while (store.take_gap(&gap)) {
  }
}

void Node::Parts::second_timer() {
  second = env.loop.after(kSecondMs, [this] {
    second_timer();
    memory->tick(env.clock.mono_ms());
    if (enrolled()) {
      bound_spool();
    } else {
      bound_journals();
    }
    keep_reserve();
    sampler->tell_refused();
    if (swap_wanted && !swapping) begin_new_boot();
    if (++seconds % kForgetLookS == 0) forget_series();
  });
}

void Node::Parts::bound_spool() {
  old_boots->take_up(boot);
  const uint64_t journals = journal->bytes() + rounds->replay_bytes() + old_boots->waiting_bytes();
  spool->enforce(journals);
  if (!spool->state().files().empty() || spool->bytes() + journals <= config.spool.bytes_max) return;
  uint64_t points = 0;
  if (old_boots->drop_oldest(&points)) points_dropped_journal += points;
}

void Node::Parts::bound_journals() {
  const auto bytes = [&] {
    uint64_t all = journal->bytes();
    for (const JournalFile& file : old_journals) all += file.bytes;
    return all;
  };
  while (bytes() > config.spool.bytes_max) {
    uint64_t points = 0;
    if (!old_journals.empty()) {
      const std::string name = numbered_name("journal-", old_journals.front().number);
      points = count_journals(env, config.state_dir, {old_journals.front()}, config.series_max).points;
      env.log.warn("journal_dropped", {{"file", name}, {"points", points}});
      (void)env.disk.remove(config.state_dir + "/" + name);
      old_journals.pop_front();
    } else if (!journal->drop_oldest(&points)) {
      return;
    }
    points_dropped_journal += points;
  }
}

// A full disk: give the reserve up, so that acks and gaps can be written, which let files go. Take it back later.
void Node::Parts::keep_reserve() {
  if (config.reserve_bytes == 0) return;
  const std::string path = config.state_dir + "/" + kReserveName;
  if (disk_full || spool->failing() || journal->failing()) {
    const auto left = env.disk.free_bytes(config.state_dir);
    if (left && *left < config.reserve_bytes && has_reserve) {
      env.log.error("disk_full", {{"free_bytes", *left}, {"points_unmade", status().points_unmade}});
      (void)env.disk.remove(path);
      has_reserve = false;
    }
    disk_full = left && *left < config.reserve_bytes;
    return;
  }
  if (has_reserve) return;
  if (env.disk.size(path).value_or(0) == config.reserve_bytes) {
    has_reserve = true;
    return;
  }
  const auto left = env.disk.free_bytes(config.state_dir);
  if (!left || *left < 4 * config.reserve_bytes) return;
  const std::vector<std::byte> zeros(config.reserve_bytes);
  has_reserve = env.disk.replace(path, zeros).has_value();
}

// ---- The end

void Node::Parts::stop(std::function<void()> done) {
  if (stopping) return;
  stopping = true;
  stopped = std::move(done);
  if (sampler != nullptr) sampler->stop();
  if (api != nullptr) api->cancel();
  scraper.reset();
  env.loop.cancel(seal);
  env.loop.cancel(second);
  stop_limit = env.loop.after(kStopMsMax, [this] {
    env.log.warn("stopped_late", {{"why", "the disk did not answer in time; the next start goes on from the journal"}});
    finish_stop();
  });
  journal->flush([this, living = alive](Status) {
    if (!*living) return;
    if (!enrolled()) return finish_stop();
    rounds->live(true, [this, living] {
      spool->finish([this, living](Status) {
        if (*living) finish_stop();
      });
    });
  });
}

void Node::Parts::finish_stop() {
  if (!stopped) return;
  env.loop.cancel(stop_limit);
  if (connection != nullptr) connection->stop();
  http.reset();
  keep_requests();
  env.log.info("stopped", {{"points_made", status().points_made}, {"backlog_parcels", spool->parcels_left()}});
  env.loop.post(std::exchange(stopped, nullptr));
}

NodeStatus Node::Parts::status() const {
  NodeStatus out;
  out.boot = boot;
  out.enrolled = enrolled();
  out.ready = started && !stopping && (!enrolled() || spool->ready());
  out.connected = connection != nullptr && connection->connected();
  out.answered = connection != nullptr && connection->answered();
  out.series = table->known_count();
  out.series_forgotten = series_forgotten;
  const JournalCounters written = sum(journals_before, journal->counters());
  out.points_made = written.points;
  out.points_unmade = written.points_unmade + points_unmade_held;
  const RoundsCounters& packed = rounds->counters();
  out.points_packed = packed.points_packed;
  out.points_recovered = packed.points_recovered;
  const SpoolCounters& spooled = spool->counters();
  out.points_dropped_bytes = spooled.points_dropped_bytes;
  out.points_dropped_age = spooled.points_dropped_age;
  out.points_dropped_refused = spooled.points_refused;
  out.points_dropped_corrupt = spooled.points_corrupt;
  out.points_dropped_memory = packed.points_memory + memory->points_refused();
  out.points_dropped_journal = points_dropped_journal;
  out.backlog_parcels = spool->parcels_left();
  out.backlog_points = spool->points_left();
  out.backlog_bytes = spool->bytes();
  out.journal_bytes = journal->bytes();
  out.boots = spool->state().boots().size();
  if (old_boots != nullptr) {
    out.boots_waiting = old_boots->waiting();
    out.boots_waiting_bytes = old_boots->waiting_bytes();
  }
  out.disk_full = disk_full;
  if (sampler != nullptr) {
    out.series_refused = sampler->counters().series_refused + sampler->counters().series_invalid;
    out.series_of_others = sampler->counters().series_of_others;
    out.moments_missed = sampler->counters().moments_missed;
    out.clock_steps = sampler->counters().clock_steps;
  }
  return out;
}

Node::Node(Env& env, AgentConfig config, SigningKey key, std::vector<std::unique_ptr<Source>> sources,
           query::HttpApi::Executor executor)
    : parts_(std::make_unique<Parts>(env, std::move(config), std::move(key), std::move(sources))) {
  parts_->executor = std::move(executor);
}
Node::~Node() = default;
Status Node::start() {
  return parts_->start();
}
void Node::stop(std::function<void()> done) {
  parts_->stop(std::move(done));
}
NodeStatus Node::status() const {
  return parts_->status();
}
uint16_t Node::http_port() const {
  return parts_->http == nullptr ? 0 : parts_->http->port();
}
uint64_t Node::boot() const {
  return parts_->boot;
}
void Node::begin_new_boot() {
  parts_->begin_new_boot();
}

}  // namespace lambda::agent
