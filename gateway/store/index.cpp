#include "gateway/store/index.h"

#include <sqlite3.h>

#include <string_view>

#include "gateway/store/index_query.h"

namespace lambda::gateway {
namespace {

constexpr int kSchemaVersion = 3;

// Want of sync at a commit is meant: a power cut may take the newest commits away, never a part of one.
constexpr const char* kSettings =
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32768;"
    "PRAGMA journal_size_limit=33554432; PRAGMA wal_autocheckpoint=4096; PRAGMA temp_store=MEMORY;";

constexpr const char* kSchema =
    "CREATE TABLE segments(number INTEGER PRIMARY KEY, owner INTEGER, indexed_to INTEGER, sealed INTEGER, dead INTEGER,"
    " blocks INTEGER, small_blocks INTEGER, points INTEGER, received_min INTEGER, received_max INTEGER, t_min INTEGER,"
    " t_max INTEGER, carried_bytes INTEGER);"
    "CREATE TABLE devices(id INTEGER PRIMARY KEY, name TEXT UNIQUE, points INTEGER, blocks INTEGER,"
    " chain_breaks INTEGER, last_received INTEGER, t_max INTEGER);"
    "CREATE TABLE boots(device INTEGER, boot INTEGER, id INTEGER UNIQUE, has_hello INTEGER, previous INTEGER,"
    " started INTEGER, t_min INTEGER, t_max INTEGER, settled BLOB, segments BLOB,"
    " PRIMARY KEY(device, boot)) WITHOUT ROWID;"
    "CREATE TABLE series(id INTEGER PRIMARY KEY, gid BLOB UNIQUE, device INTEGER, name TEXT, canonical TEXT);"
    "CREATE INDEX series_name ON series(name);"
    "CREATE TABLE streams(boot INTEGER, ref INTEGER, id INTEGER UNIQUE, series INTEGER, kind INTEGER, type INTEGER,"
    " scale INTEGER, unit TEXT, PRIMARY KEY(boot, ref)) WITHOUT ROWID;"
    "CREATE INDEX streams_series ON streams(series);"
    "CREATE TABLE coverage(stream INTEGER PRIMARY KEY, runs BLOB);"
    "CREATE TABLE extents(segment INTEGER, stream INTEGER, first INTEGER, t_min INTEGER, t_max INTEGER, blocks BLOB,"
    " PRIMARY KEY(segment, stream, first)) WITHOUT ROWID;"
    "CREATE TABLE held(segment INTEGER, device INTEGER, blocks INTEGER, PRIMARY KEY(segment, device)) WITHOUT ROWID;"
    "CREATE TABLE gaps(boot INTEGER, ref INTEGER, first INTEGER, count INTEGER, reason INTEGER,"
    " PRIMARY KEY(boot, ref, first, count)) WITHOUT ROWID;"
    "CREATE TABLE parcels(boot INTEGER, seq INTEGER, digest BLOB, previous BLOB, PRIMARY KEY(boot, seq)) WITHOUT ROWID;"
    "CREATE TABLE clocks(boot INTEGER, segment INTEGER, relative INTEGER, offset INTEGER, known INTEGER, seq INTEGER,"
    " PRIMARY KEY(boot, segment)) WITHOUT ROWID;";

// Removes a database that is of no use, by the same doors through which it was opened.
void remove_files(const std::string& path) {
  sqlite3_vfs* const files = sqlite3_vfs_find(nullptr);
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) files->xDelete(files, (path + suffix).c_str(), 0);
}

bool exists(const std::string& path) {
  sqlite3_vfs* const files = sqlite3_vfs_find(nullptr);
  int there = 0;
  return files->xAccess(files, path.c_str(), SQLITE_ACCESS_EXISTS, &there) == SQLITE_OK && there != 0;
}

}  // namespace

// The columns of a table in the order of the SELECTs below.
BootRow Index::boot_row(Query& query) {
  BootRow row;
  row.device = query.number();
  row.boot = query.count();
  row.id = query.number();
  row.has_hello = query.number() != 0;
  row.previous_boot = query.count();
  row.started_ms = query.number();
  row.t_min = query.number();
  row.t_max = query.number();
  row.segments = query.runs();
  row.settled = query.runs();
  return row;
}

StreamRow Index::stream_row(Query& query) {
  StreamRow row;
  row.boot = query.number();
  row.ref = query.small();
  row.id = query.number();
  row.series = query.number();
  row.kind = static_cast<Kind>(query.number());
  row.type = static_cast<ValueType>(query.number());
  row.scale = static_cast<uint8_t>(query.number());
  row.unit = query.text();
  return row;
}

SeriesRow Index::series_row_of(Query& query) {
  SeriesRow row;
  row.id = query.number();
  row.device = query.number();
  row.gid = query.text();
  row.name = query.text();
  row.canonical = query.text();
  return row;
}

Index::Index(sqlite3* database) : database_(database) {}

Index::~Index() {
  if (!error_) commit();
  for (const auto& [text, statement] : statements_) sqlite3_finalize(static_cast<sqlite3_stmt*>(statement));
  sqlite3_close(database_);
}

Result<std::unique_ptr<Index>> Index::open(const std::string& path, bool* made) {
  // Twice at most: as it is, and anew after an unusable one was removed.
  for (int attempt = 0;; ++attempt) {
    const bool fresh = path.empty() || attempt > 0 || !exists(path);
    // A write-ahead log without its database belongs to one that is gone.
    if (fresh && !path.empty()) remove_files(path);
    *made = fresh;
    sqlite3* database = nullptr;
    const int code = sqlite3_open_v2(path.empty() ? ":memory:" : path.c_str(), &database,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    if (code != SQLITE_OK) {
      const std::string text = database == nullptr ? "out of memory" : sqlite3_errmsg(database);
      sqlite3_close(database);
      if (attempt == 0 && !path.empty()) continue;
      return fail(ErrorCode::kIo, path + ": " + text);
    }
    std::unique_ptr<Index> index(new Index(database));
    if (index->begin(fresh)) return index;
    if (attempt > 0 || path.empty()) return tl::unexpected(index->error());
  }
}

Status Index::remove(const std::string& path) {
  remove_files(path);
  if (exists(path)) return fail(ErrorCode::kIo, path + ": cannot be removed");
  return {};
}

bool Index::present(const std::string& path) {
  return exists(path);
}

Status Index::begin(bool fresh) {
  sqlite3_extended_result_codes(database_, 1);
  sqlite3_busy_timeout(database_, 0);
  run(kSettings);
  if (fresh) {
    run("BEGIN");
    run(kSchema);
    run(("PRAGMA user_version=" + std::to_string(kSchemaVersion)).c_str());
    run("COMMIT");
  } else {
    int64_t version = 0;
    {
      Query query(*this, "PRAGMA user_version");
      if (query.step()) version = query.number();
    }
    segments();  // a file that is no database, or one whose root is damaged, shows here
    if (!error_ && version != kSchemaVersion) error_ = Error{ErrorCode::kUnsupported, "index of another version"};
  }
  if (error_) return tl::unexpected(*error_);
  return {};
}

void Index::run(const char* sql) {
  if (error_) return;
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) refuse(sql);
}

void Index::refuse(const std::string& doing) {
  if (error_) return;
  const int code = sqlite3_errcode(database_) & 0xFF;
  full_ = code == SQLITE_FULL;
  const bool ours = code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE;  // it gave what we cannot read
  const std::string said = ours ? "index: " : std::string("index: ") + sqlite3_errmsg(database_) + " in: ";
  error_ = Error{full_ ? ErrorCode::kFull : ErrorCode::kIo, said + doing.substr(0, 60)};
}

void Index::changed() {
  if (!open_transaction_) {
    open_transaction_ = true;
    run("BEGIN IMMEDIATE");
  }
  ++uncommitted_;
}

void Index::commit(bool durable) {
  write_gathered();
  if (error_ || (!open_transaction_ && !durable)) return;
  if (open_transaction_) run("COMMIT");
  open_transaction_ = false;
  uncommitted_ = 0;
  // A commit is written and not synced; a checkpoint syncs the log first, then the database.
  if (durable && !error_ &&
      sqlite3_wal_checkpoint_v2(database_, nullptr, SQLITE_CHECKPOINT_FULL, nullptr, nullptr) != SQLITE_OK) {
    refuse("checkpoint");
  }
}

int64_t Index::id_max(const char* table) {
  const std::string_view name = table;
  const char* sql = name == "devices"  ? "SELECT max(id) FROM devices"
                    : name == "boots"  ? "SELECT max(id) FROM boots"
                    : name == "series" ? "SELECT max(id) FROM series"
                                       : "SELECT max(id) FROM streams";
  Query query(*this, sql);
  return query.step() ? query.number() : 0;
}

std::vector<IndexedSegment> Index::segments() {
  std::vector<IndexedSegment> all;
  Query query(*this,
              "SELECT number, owner, indexed_to, sealed, dead, blocks, small_blocks, points, received_min,"
              " received_max, t_min, t_max, carried_bytes FROM segments ORDER BY number");
  while (query.step()) {
    IndexedSegment& segment = all.emplace_back();
    segment.number = query.count();
    segment.owner = query.small();
    segment.indexed_to = query.count();
    segment.sealed = query.number() != 0;
    segment.dead = query.number() != 0;
    segment.blocks = query.count();
    segment.small_blocks = query.count();
    segment.points = query.count();
    segment.received_min = query.number();
    segment.received_max = query.number();
    segment.t_min = query.number();
    segment.t_max = query.number();
    segment.carried_bytes = query.count();
  }
  return all;
}

void Index::put_segment(const IndexedSegment& s) {
  Query(*this, "INSERT OR REPLACE INTO segments VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)")
      .bind(s.number)
      .bind(s.owner)
      .bind(s.indexed_to)
      .bind(int{s.sealed})
      .bind(int{s.dead})
      .bind(s.blocks)
      .bind(s.small_blocks)
      .bind(s.points)
      .bind(s.received_min)
      .bind(s.received_max)
      .bind(s.t_min)
      .bind(s.t_max)
      .bind(s.carried_bytes)
      .write();
}

void Index::drop_segment(uint64_t number) {
  Query(*this, "DELETE FROM segments WHERE number=?").bind(number).write();
}

std::vector<DeviceRow> Index::devices() {
  std::vector<DeviceRow> all;
  Query query(*this, "SELECT id, name, points, blocks, chain_breaks, last_received, t_max FROM devices ORDER BY id");
  while (query.step()) {
    DeviceRow& row = all.emplace_back();
    row.id = query.number();
    row.name = query.text();
    row.points = query.count();
    row.blocks = query.count();
    row.chain_breaks = query.count();
    row.last_received_ms = query.number();
    row.t_max = query.number();
  }
  return all;
}

void Index::put_device(const DeviceRow& d) {
  Query(*this, "INSERT OR REPLACE INTO devices VALUES(?,?,?,?,?,?,?)")
      .bind(d.id)
      .bind(d.name)
      .bind(d.points)
      .bind(d.blocks)
      .bind(d.chain_breaks)
      .bind(d.last_received_ms)
      .bind(d.t_max)
      .write();
}

std::optional<BootRow> Index::boot(int64_t device, uint64_t boot) {
  Query query(*this,
              "SELECT device, boot, id, has_hello, previous, started, t_min, t_max, segments, settled FROM boots"
              " WHERE device=? AND boot=?");
  if (!query.bind(device).bind(boot).step()) return std::nullopt;
  return boot_row(query);
}

std::vector<BootRow> Index::boots(int64_t device) {
  std::vector<BootRow> all;
  Query query(*this,
              "SELECT device, boot, id, has_hello, previous, started, t_min, t_max, segments, settled FROM boots"
              " WHERE device=?");
  query.bind(device);
  while (query.step()) all.push_back(boot_row(query));
  return all;
}

void Index::put_boot(const BootRow& b) {
  const std::string settled = b.settled.encode();
  const std::string segments = b.segments.encode();
  Query(*this, "INSERT OR REPLACE INTO boots VALUES(?,?,?,?,?,?,?,?,?,?)")
      .bind(b.device)
      .bind(b.boot)
      .bind(b.id)
      .bind(int{b.has_hello})
      .bind(b.previous_boot)
      .bind(b.started_ms)
      .bind(b.t_min)
      .bind(b.t_max)
      .bind_blob(settled)
      .bind_blob(segments)
      .write();
}

std::optional<StreamRow> Index::stream(int64_t boot, uint32_t ref) {
  Query query(*this, "SELECT boot, ref, id, series, kind, type, scale, unit FROM streams WHERE boot=? AND ref=?");
  if (!query.bind(boot).bind(ref).step()) return std::nullopt;
  return stream_row(query);
}

std::vector<StreamRow> Index::streams(int64_t series) {
  std::vector<StreamRow> all;
  Query query(*this, "SELECT boot, ref, id, series, kind, type, scale, unit FROM streams WHERE series=?");
  query.bind(series);
  while (query.step()) all.push_back(stream_row(query));
  return all;
}

void Index::put_stream(const StreamRow& s) {
  Query(*this, "INSERT OR REPLACE INTO streams VALUES(?,?,?,?,?,?,?,?)")
      .bind(s.boot)
      .bind(s.ref)
      .bind(s.id)
      .bind(s.series)
      .bind(static_cast<int>(s.kind))
      .bind(static_cast<int>(s.type))
      .bind(uint32_t{s.scale})
      .bind(s.unit)
      .write();
}

std::optional<int64_t> Index::series(const std::string& gid) {
  Query query(*this, "SELECT id FROM series WHERE gid=?");
  if (!query.bind_blob(gid).step()) return std::nullopt;
  return query.number();
}

std::optional<SeriesRow> Index::series_row(int64_t series) {
  Query query(*this, "SELECT id, device, gid, name, canonical FROM series WHERE id=?");
  if (!query.bind(series).step()) return std::nullopt;
  return series_row_of(query);
}

void Index::put_series(const SeriesRow& s) {
  Query(*this, "INSERT OR REPLACE INTO series VALUES(?,?,?,?,?)")
      .bind(s.id)
      .bind_blob(s.gid)
      .bind(s.device)
      .bind(s.name)
      .bind(s.canonical)
      .write();
}

void Index::each_series(int64_t device, const std::string& name, const std::function<bool(const SeriesRow&)>& visit) {
  Query query(*this, name.empty()
                         ? "SELECT id, device, gid, name, canonical FROM series WHERE ?=0 OR device=?"
                         : "SELECT id, device, gid, name, canonical FROM series WHERE (?=0 OR device=?) AND name=?");
  query.bind(device).bind(device);
  if (!name.empty()) query.bind(name);
  while (query.step()) {
    if (!visit(series_row_of(query))) return;
  }
}

// From one name to the next in the index of names: what it costs follows the names, not the series.
void Index::each_metric(const std::function<void(const std::string&, Kind, const std::string&)>& visit) {
  std::string name;
  for (;;) {
    int64_t series = 0;
    {
      Query next(*this, "SELECT name, id FROM series WHERE name>? ORDER BY name LIMIT 1");
      if (!next.bind(name).step()) return;
      name = next.text();
      series = next.number();
    }
    Query newest(*this, "SELECT kind, unit FROM streams WHERE series=? ORDER BY boot DESC LIMIT 1");
    if (!newest.bind(series).step()) continue;
    const auto kind = static_cast<Kind>(newest.number());
    visit(name, kind, newest.text());
  }
}

std::optional<RunSet> Index::coverage(int64_t stream) {
  Query query(*this, "SELECT runs FROM coverage WHERE stream=?");
  if (!query.bind(stream).step()) return std::nullopt;
  return query.runs();
}

void Index::put_coverage(int64_t stream, const RunSet& runs) {
  const std::string bytes = runs.encode();
  Query(*this, "INSERT OR REPLACE INTO coverage VALUES(?,?)").bind(stream).bind_blob(bytes).write();
}

void Index::put_gap(int64_t boot, const GapView& gap) {
  Query(*this, "INSERT OR REPLACE INTO gaps VALUES(?,?,?,?,?)")
      .bind(boot)
      .bind(gap.ref)
      .bind(gap.first_ordinal)
      .bind(gap.count)
      .bind(static_cast<int>(gap.reason))
      .write();
}

bool Index::has_gap(int64_t boot, const GapView& gap) {
  // Nearly always its own row is the first of these, or the run that it became a part of.
  Query query(*this,
              "SELECT 1 FROM (SELECT first, count FROM gaps WHERE boot=? AND ref=? AND first<=?"
              " ORDER BY first DESC, count DESC LIMIT 16) WHERE first+count>=?");
  return query.bind(boot).bind(gap.ref).bind(gap.first_ordinal).bind(gap.first_ordinal + gap.count).step();
}

bool Index::has_gaps(int64_t boot) {
  return Query(*this, "SELECT 1 FROM gaps WHERE boot=? LIMIT 1").bind(boot).step();
}

std::vector<GapView> Index::gaps(int64_t boot) {
  std::vector<GapView> all;
  Query query(*this, "SELECT ref, first, count, reason FROM gaps WHERE boot=? ORDER BY ref, first");
  query.bind(boot);
  while (query.step()) {
    GapView& gap = all.emplace_back();
    gap.ref = query.small();
    gap.first_ordinal = query.count();
    gap.count = query.count();
    gap.reason = static_cast<GapReason>(query.number());
  }
  return all;
}

std::optional<ParcelDigests> Index::parcel(int64_t boot, uint64_t seq) {
  if (const auto young = parcels_.find({boot, seq}); young != parcels_.end()) return young->second;
  Query query(*this, "SELECT digest, previous FROM parcels WHERE boot=? AND seq=?");
  if (!query.bind(boot).bind(seq).step()) return std::nullopt;
  const auto digest = query.digest();
  const auto previous = query.digest();
  if (!digest || !previous) return std::nullopt;
  return ParcelDigests{*digest, *previous};
}

void Index::put_parcel(int64_t boot, uint64_t seq, const ParcelDigests& digests) {
  changed();
  parcels_[{boot, seq}] = digests;
  if (parcels_.size() >= kGatheredParcelsMax) write_parcels();
}

void Index::write_parcels() {
  for (const auto& [key, digests] : parcels_) {
    Query(*this, "INSERT OR REPLACE INTO parcels VALUES(?,?,?,?)")
        .bind(key.first)
        .bind(key.second)
        .bind(digests.digest)
        .bind(digests.previous)
        .write();
  }
  parcels_.clear();
}

std::vector<uint32_t> Index::declared_refs(int64_t boot) {
  std::vector<uint32_t> refs;
  Query query(*this, "SELECT ref FROM streams WHERE boot=? AND series!=0");
  query.bind(boot);
  while (query.step()) refs.push_back(query.small());
  return refs;
}

void Index::drop_clocks(int64_t boot) {
  Query(*this, "DELETE FROM clocks WHERE boot=?").bind(boot).write();
}

bool Index::has_streams(int64_t boot) {
  Query query(*this, "SELECT 1 FROM streams WHERE boot=? LIMIT 1");
  return query.bind(boot).step();
}

void Index::drop_parcels_below(int64_t boot, uint64_t seq) {
  parcels_.erase(parcels_.lower_bound({boot, 0}), parcels_.lower_bound({boot, seq}));
  Query(*this, "DELETE FROM parcels WHERE boot=? AND seq<?").bind(boot).bind(seq).write();
}

void Index::put_clock(int64_t boot, const ClockView& clock, uint64_t seq) {
  Query(*this,
        "INSERT INTO clocks VALUES(?,?,?,?,?,?) ON CONFLICT(boot, segment) DO UPDATE SET relative=excluded.relative,"
        " offset=excluded.offset, known=excluded.known, seq=excluded.seq WHERE excluded.seq>=seq")
      .bind(boot)
      .bind(clock.segment)
      .bind(int{clock.relative})
      .bind(clock.offset_ms)
      .bind(int{clock.known})
      .bind(seq)
      .write();
}

std::vector<ClockView> Index::clocks(int64_t boot) {
  std::vector<ClockView> all;
  Query query(*this, "SELECT segment, relative, offset, known FROM clocks WHERE boot=? ORDER BY segment");
  query.bind(boot);
  while (query.step()) {
    ClockView& clock = all.emplace_back();
    clock.segment = query.small();
    clock.relative = query.number() != 0;
    clock.offset_ms = query.number();
    clock.known = query.number() != 0;
  }
  return all;
}

}  // namespace lambda::gateway
