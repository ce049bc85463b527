#include "gateway/store/index.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>

namespace lambda::gateway {
namespace {

constexpr int kSchemaVersion = 1;

// Want of sync at a commit is meant: a power cut may take the newest commits away, never a part of one.
constexpr const char* kSettings =
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32768;"
    "PRAGMA journal_size_limit=33554432; PRAGMA wal_autocheckpoint=4096; PRAGMA temp_store=MEMORY;";

constexpr const char* kSchema =
    "CREATE TABLE segments(number INTEGER PRIMARY KEY, owner INTEGER, indexed_to INTEGER, sealed INTEGER, dead INTEGER,"
    " blocks INTEGER, small_blocks INTEGER, points INTEGER, received_min INTEGER, received_max INTEGER);"
    "CREATE TABLE devices(id INTEGER PRIMARY KEY, name TEXT UNIQUE, points INTEGER, blocks INTEGER,"
    " chain_breaks INTEGER, last_received INTEGER, t_max INTEGER);"
    "CREATE TABLE boots(device INTEGER, boot INTEGER, id INTEGER UNIQUE, has_hello INTEGER, previous INTEGER,"
    " started INTEGER, t_min INTEGER, t_max INTEGER, settled BLOB, PRIMARY KEY(device, boot)) WITHOUT ROWID;"
    "CREATE TABLE series(id INTEGER PRIMARY KEY, gid BLOB UNIQUE, device INTEGER, name TEXT, canonical TEXT);"
    "CREATE INDEX series_name ON series(name);"
    "CREATE TABLE streams(boot INTEGER, ref INTEGER, id INTEGER UNIQUE, series INTEGER, kind INTEGER, type INTEGER,"
    " scale INTEGER, unit TEXT, PRIMARY KEY(boot, ref)) WITHOUT ROWID;"
    "CREATE INDEX streams_series ON streams(series);"
    "CREATE TABLE coverage(stream INTEGER PRIMARY KEY, runs BLOB);"
    "CREATE TABLE blocks(stream INTEGER, first INTEGER, count INTEGER, clock INTEGER, t_min INTEGER, t_max INTEGER,"
    " segment INTEGER, offset INTEGER, length INTEGER, root BLOB, PRIMARY KEY(stream, first)) WITHOUT ROWID;"
    "CREATE INDEX blocks_time ON blocks(stream, t_max);"
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

// One use of a prepared statement: bind in order, step, read columns in order; reset at the end.
class Index::Query {
 public:
  Query(Index& index, const char* sql) : index_(index) {
    if (index_.error_) return;
    for (const auto& [text, statement] : index_.statements_) {
      if (text == sql) statement_ = static_cast<sqlite3_stmt*>(statement);
    }
    if (statement_ != nullptr) return;
    if (sqlite3_prepare_v3(index_.database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) != SQLITE_OK) {
      index_.refuse(sql);
      statement_ = nullptr;
      return;
    }
    index_.statements_.emplace_back(sql, statement_);
  }
  ~Query() {
    if (statement_ != nullptr) sqlite3_reset(statement_);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(int64_t value) {
    if (statement_ != nullptr) sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Query& bind(uint64_t value) { return bind(static_cast<int64_t>(value)); }
  Query& bind(uint32_t value) { return bind(static_cast<int64_t>(value)); }
  Query& bind(int value) { return bind(static_cast<int64_t>(value)); }
  Query& bind(const std::string& value) {
    if (statement_ != nullptr) {
      sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    }
    return *this;
  }
  // The bytes must outlive the step.
  Query& bind_blob(const void* bytes, size_t size) {
    if (statement_ != nullptr) sqlite3_bind_blob(statement_, ++bound_, bytes, static_cast<int>(size), SQLITE_STATIC);
    return *this;
  }
  Query& bind_null() {
    if (statement_ != nullptr) sqlite3_bind_null(statement_, ++bound_);
    return *this;
  }

  // The next row is there.
  bool step() {
    if (statement_ == nullptr || index_.error_) return false;
    column_ = 0;
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) index_.refuse(sqlite3_sql(statement_));
    return false;
  }
  void write() {
    if (statement_ == nullptr) return;
    index_.changed();
    step();
  }

  int64_t number() { return sqlite3_column_int64(statement_, column_++); }
  std::string text() {
    const void* bytes = sqlite3_column_blob(statement_, column_);
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column_++));
    return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
  }
  std::optional<Digest> digest() {
    const void* bytes = sqlite3_column_blob(statement_, column_);
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column_++));
    Digest digest{};
    if (bytes == nullptr || size != digest.size()) return std::nullopt;
    std::memcpy(digest.data(), bytes, size);
    return digest;
  }

 private:
  Index& index_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
  int column_ = 0;
};

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

void Index::refuse(const char* doing) {
  if (error_) return;
  const int code = sqlite3_errcode(database_) & 0xFF;
  full_ = code == SQLITE_FULL;
  error_ = Error{full_ ? ErrorCode::kFull : ErrorCode::kIo,
                 std::string("index: ") + sqlite3_errmsg(database_) + " in: " + std::string(doing).substr(0, 60)};
}

void Index::changed() {
  if (!open_transaction_) {
    open_transaction_ = true;
    run("BEGIN IMMEDIATE");
  }
  ++uncommitted_;
}

void Index::commit(bool durable) {
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
              "SELECT number, owner, indexed_to, sealed, dead, blocks, small_blocks, points, received_min, received_max"
              " FROM segments ORDER BY number");
  while (query.step()) {
    IndexedSegment segment;
    segment.number = static_cast<uint64_t>(query.number());
    segment.owner = static_cast<uint32_t>(query.number());
    segment.indexed_to = static_cast<uint64_t>(query.number());
    segment.sealed = query.number() != 0;
    segment.dead = query.number() != 0;
    segment.blocks = static_cast<uint64_t>(query.number());
    segment.small_blocks = static_cast<uint64_t>(query.number());
    segment.points = static_cast<uint64_t>(query.number());
    segment.received_min = query.number();
    segment.received_max = query.number();
    all.push_back(segment);
  }
  return all;
}

void Index::put_segment(const IndexedSegment& s) {
  Query(*this, "INSERT OR REPLACE INTO segments VALUES(?,?,?,?,?,?,?,?,?,?)")
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
      .write();
}

void Index::drop_segment(uint64_t number) {
  Query(*this, "DELETE FROM segments WHERE number=?").bind(number).write();
}

std::vector<DeviceRow> Index::devices() {
  std::vector<DeviceRow> all;
  Query query(*this, "SELECT id, name, points, blocks, chain_breaks, last_received, t_max FROM devices ORDER BY id");
  while (query.step()) {
    DeviceRow row;
    row.id = query.number();
    row.name = query.text();
    row.points = static_cast<uint64_t>(query.number());
    row.blocks = static_cast<uint64_t>(query.number());
    row.chain_breaks = static_cast<uint64_t>(query.number());
    row.last_received_ms = query.number();
    row.t_max = query.number();
    all.push_back(std::move(row));
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
              "SELECT id, has_hello, previous, started, t_min, t_max, settled FROM boots WHERE device=? AND boot=?");
  if (!query.bind(device).bind(boot).step()) return std::nullopt;
  BootRow row;
  row.device = device;
  row.boot = boot;
  row.id = query.number();
  row.has_hello = query.number() != 0;
  row.previous_boot = static_cast<uint64_t>(query.number());
  row.started_ms = query.number();
  row.t_min = query.number();
  row.t_max = query.number();
  row.settled = query.text();
  return row;
}

std::vector<BootRow> Index::boots(int64_t device) {
  std::vector<BootRow> all;
  Query query(*this, "SELECT boot, id, has_hello, previous, started, t_min, t_max FROM boots WHERE device=?");
  query.bind(device);
  while (query.step()) {
    BootRow row;
    row.device = device;
    row.boot = static_cast<uint64_t>(query.number());
    row.id = query.number();
    row.has_hello = query.number() != 0;
    row.previous_boot = static_cast<uint64_t>(query.number());
    row.started_ms = query.number();
    row.t_min = query.number();
    row.t_max = query.number();
    all.push_back(std::move(row));
  }
  return all;
}

void Index::put_boot(const BootRow& b) {
  Query(*this, "INSERT OR REPLACE INTO boots VALUES(?,?,?,?,?,?,?,?,?)")
      .bind(b.device)
      .bind(b.boot)
      .bind(b.id)
      .bind(int{b.has_hello})
      .bind(b.previous_boot)
      .bind(b.started_ms)
      .bind(b.t_min)
      .bind(b.t_max)
      .bind_blob(b.settled.data(), b.settled.size())
      .write();
}

std::optional<StreamRow> Index::stream(int64_t boot, uint32_t ref) {
  Query query(*this, "SELECT id, series, kind, type, scale, unit FROM streams WHERE boot=? AND ref=?");
  if (!query.bind(boot).bind(ref).step()) return std::nullopt;
  StreamRow row;
  row.boot = boot;
  row.ref = ref;
  row.id = query.number();
  row.series = query.number();
  row.kind = static_cast<Kind>(query.number());
  row.type = static_cast<ValueType>(query.number());
  row.scale = static_cast<uint8_t>(query.number());
  row.unit = query.text();
  return row;
}

std::vector<StreamRow> Index::streams(int64_t series) {
  std::vector<StreamRow> all;
  Query query(*this, "SELECT boot, ref, id, kind, type, scale FROM streams WHERE series=?");
  query.bind(series);
  while (query.step()) {
    StreamRow row;
    row.series = series;
    row.boot = query.number();
    row.ref = static_cast<uint32_t>(query.number());
    row.id = query.number();
    row.kind = static_cast<Kind>(query.number());
    row.type = static_cast<ValueType>(query.number());
    row.scale = static_cast<uint8_t>(query.number());
    all.push_back(std::move(row));
  }
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
  if (!query.bind_blob(gid.data(), gid.size()).step()) return std::nullopt;
  return query.number();
}

std::optional<SeriesRow> Index::series_row(int64_t series) {
  Query query(*this, "SELECT device, gid, name, canonical FROM series WHERE id=?");
  if (!query.bind(series).step()) return std::nullopt;
  SeriesRow row;
  row.id = series;
  row.device = query.number();
  row.gid = query.text();
  row.name = query.text();
  row.canonical = query.text();
  return row;
}

void Index::put_series(const SeriesRow& s) {
  Query(*this, "INSERT OR REPLACE INTO series VALUES(?,?,?,?,?)")
      .bind(s.id)
      .bind_blob(s.gid.data(), s.gid.size())
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
    SeriesRow row;
    row.id = query.number();
    row.device = query.number();
    row.gid = query.text();
    row.name = query.text();
    row.canonical = query.text();
    if (!visit(row)) return;
  }
}

std::optional<std::string> Index::coverage(int64_t stream) {
  Query query(*this, "SELECT runs FROM coverage WHERE stream=?");
  if (!query.bind(stream).step()) return std::nullopt;
  return query.text();
}

void Index::put_coverage(int64_t stream, const std::string& runs) {
  Query(*this, "INSERT OR REPLACE INTO coverage VALUES(?,?)").bind(stream).bind_blob(runs.data(), runs.size()).write();
}

void Index::put_block(const BlockRow& row) {
  Query query(*this, "INSERT OR REPLACE INTO blocks VALUES(?,?,?,?,?,?,?,?,?,?)");
  query.bind(row.stream)
      .bind(row.first)
      .bind(row.count)
      .bind(row.clock)
      .bind(row.t_min)
      .bind(row.t_max)
      .bind(row.segment)
      .bind(row.offset)
      .bind(row.length);
  if (row.root) {
    query.bind_blob(row.root->data(), row.root->size());
  } else {
    query.bind_null();
  }
  query.write();
}

void Index::drop_block(int64_t stream, uint64_t first) {
  Query(*this, "DELETE FROM blocks WHERE stream=? AND first=?").bind(stream).bind(first).write();
}

std::vector<BlockRow> Index::overlapping(int64_t stream, uint64_t first, uint64_t end) {
  std::vector<BlockRow> all;
  Query query(*this,
              "SELECT first, count, clock, t_min, t_max, segment, offset, length, root FROM blocks"
              " WHERE stream=? AND first>? AND first<? AND first+count>? ORDER BY first");
  query.bind(stream).bind(static_cast<int64_t>(first) - int64_t{kBlockPointsMax}).bind(end).bind(first);
  while (query.step()) {
    BlockRow row;
    row.stream = stream;
    row.first = static_cast<uint64_t>(query.number());
    row.count = static_cast<uint32_t>(query.number());
    row.clock = static_cast<uint32_t>(query.number());
    row.t_min = query.number();
    row.t_max = query.number();
    row.segment = static_cast<uint64_t>(query.number());
    row.offset = static_cast<uint64_t>(query.number());
    row.length = static_cast<uint32_t>(query.number());
    row.root = query.digest();
    all.push_back(row);
  }
  return all;
}

void Index::in_time(int64_t stream, int64_t from, int64_t to, const std::function<bool(const BlockRow&)>& visit) {
  // A block spans at most kBlockSpanMsMax, so the answer lies in a bounded part of blocks_time.
  const int64_t t_max_end = to > INT64_MAX - kBlockSpanMsMax ? INT64_MAX : to + kBlockSpanMsMax;
  Query query(*this,
              "SELECT first, count, clock, t_min, t_max, segment, offset, length FROM blocks INDEXED BY blocks_time"
              " WHERE stream=? AND t_max>=? AND t_max<=? AND t_min<=?");
  query.bind(stream).bind(from).bind(t_max_end).bind(to);
  while (query.step()) {
    BlockRow row;
    row.stream = stream;
    row.first = static_cast<uint64_t>(query.number());
    row.count = static_cast<uint32_t>(query.number());
    row.clock = static_cast<uint32_t>(query.number());
    row.t_min = query.number();
    row.t_max = query.number();
    row.segment = static_cast<uint64_t>(query.number());
    row.offset = static_cast<uint64_t>(query.number());
    row.length = static_cast<uint32_t>(query.number());
    if (!visit(row)) return;
  }
}

bool Index::boot_outlives(int64_t boot, uint64_t segment) {
  Query query(*this,
              "SELECT 1 FROM streams JOIN blocks ON blocks.stream=streams.id"
              " WHERE streams.boot=? AND blocks.segment<>? LIMIT 1");
  return query.bind(boot).bind(segment).step();
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
  Query query(*this, "SELECT 1 FROM gaps WHERE boot=? AND ref=? AND first=? AND count=?");
  return query.bind(boot).bind(gap.ref).bind(gap.first_ordinal).bind(gap.count).step();
}

std::vector<GapView> Index::gaps(int64_t boot) {
  std::vector<GapView> all;
  Query query(*this, "SELECT ref, first, count, reason FROM gaps WHERE boot=? ORDER BY ref, first");
  query.bind(boot);
  while (query.step()) {
    GapView gap;
    gap.ref = static_cast<uint32_t>(query.number());
    gap.first_ordinal = static_cast<uint64_t>(query.number());
    gap.count = static_cast<uint64_t>(query.number());
    gap.reason = static_cast<GapReason>(query.number());
    all.push_back(gap);
  }
  return all;
}

std::optional<ParcelDigests> Index::parcel(int64_t boot, uint64_t seq) {
  Query query(*this, "SELECT digest, previous FROM parcels WHERE boot=? AND seq=?");
  if (!query.bind(boot).bind(seq).step()) return std::nullopt;
  const auto digest = query.digest();
  const auto previous = query.digest();
  if (!digest || !previous) return std::nullopt;
  return ParcelDigests{*digest, *previous};
}

void Index::put_parcel(int64_t boot, uint64_t seq, const ParcelDigests& digests) {
  Query(*this, "INSERT OR REPLACE INTO parcels VALUES(?,?,?,?)")
      .bind(boot)
      .bind(seq)
      .bind_blob(digests.digest.data(), digests.digest.size())
      .bind_blob(digests.previous.data(), digests.previous.size())
      .write();
}

void Index::drop_parcels_below(int64_t boot, uint64_t seq) {
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
    ClockView clock;
    clock.segment = static_cast<uint32_t>(query.number());
    clock.relative = query.number() != 0;
    clock.offset_ms = query.number();
    clock.known = query.number() != 0;
    all.push_back(clock);
  }
  return all;
}

std::string series_gid(const std::string& device, const std::string& canonical) {
  const std::string bytes = device + '\0' + canonical;
  const Digest digest = sha256({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  return std::string(digest.begin(), digest.begin() + 16);
}

std::string canonical_name(const std::string& name, const std::vector<std::pair<std::string, std::string>>& labels) {
  std::string out = name + '{';
  for (const auto& [label, value] : labels) {
    if (out.back() != '{') out += ',';
    out += label + "=\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    out += '"';
  }
  return out + '}';
}

bool parse_canonical(const std::string& canonical, std::string* name,
                     std::vector<std::pair<std::string, std::string>>* labels) {
  labels->clear();
  size_t at = canonical.find('{');
  if (at == std::string::npos || canonical.back() != '}') return false;
  *name = canonical.substr(0, at++);
  while (at + 1 < canonical.size()) {
    const size_t equals = canonical.find("=\"", at);
    if (equals == std::string::npos) return false;
    std::string label = canonical.substr(at, equals - at);
    std::string value;
    for (at = equals + 2; at < canonical.size() && canonical[at] != '"'; ++at) {
      if (canonical[at] == '\\' && at + 1 < canonical.size()) {
        ++at;
        value += canonical[at] == 'n' ? '\n' : canonical[at];
      } else {
        value += canonical[at];
      }
    }
    if (++at >= canonical.size()) return false;
    if (canonical[at] == ',') ++at;
    labels->emplace_back(std::move(label), std::move(value));
  }
  return true;
}

}  // namespace lambda::gateway
