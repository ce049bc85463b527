#include "agent/spool/spool.h"

#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "base/record/record.h"
#include "base/record/write_again.h"

namespace lambda::agent {
namespace {

uint64_t file_bytes_for(const SpoolOptions& options) {
  if (options.file_bytes > 0) return options.file_bytes;
  return std::clamp<uint64_t>(options.bytes_max / 16, 64u << 10, 16u << 20);
}

// Clocks that never were set say 1970: such a time gives no age.
constexpr int64_t kPlausibleMs = 1'577'836'800'000;  // 2020-01-01

}  // namespace

Spool::Spool(Env& env, SpoolOptions options)
    : env_(env), options_(std::move(options)), file_bytes_(file_bytes_for(options_)), state_(options_.series_max) {}

Spool::~Spool() {
  *alive_ = false;
  env_.loop.cancel(flush_timer_);
  env_.loop.cancel(retry_timer_);
  if (open_) env_.disk.close(file_);
}

std::string Spool::path(uint64_t number) const {
  return options_.dir + "/" + numbered_name("spool-", number);
}

uint64_t Spool::bytes() const {
  uint64_t bytes = present_.bytes + bad_bytes_;
  for (const SpoolFile& file : state_.files()) bytes += file.bytes;
  return bytes;
}

uint64_t Spool::parcels_left() const {
  uint64_t parcels = 0;
  for (const auto& boot : state_.boots()) parcels += boot->unsettled();
  return parcels;
}

uint64_t Spool::points_left() const {
  uint64_t points = present_.points_left;
  for (const SpoolFile& file : state_.files()) points += file.points_left;
  return points;
}

void Spool::start(std::function<void()> durable) {
  durable_ = std::move(durable);
  if (found_ == 0 || planted("spool_no_start_sync")) {
    env_.loop.post([this, alive = alive_] {
      if (*alive) found_durable();
    });
    return;
  }
  sync_found();
}

void Spool::sync_found() {
  const auto answered = [this, alive = alive_](const Status& status) {
    if (!*alive) return;
    if (status) return found_durable();
    counters_.sync_errors++;
    env_.log.error("spool_sync_failed", {{"file", path(found_)}, {"error", status.error().text}});
    failing_ = true;
    if (planted("spool_believes_failed_start_sync")) return found_durable();
    write_found_again();
  };
  auto file = env_.disk.open_append(path(found_));
  if (!file) {
    env_.loop.post([answered, error = file.error()] { answered(tl::unexpected(error)); });
    return;
  }
  env_.disk.sync(*file, answered);
  env_.disk.close(*file);
}

void Spool::write_found_again() {
  SpoolFile& file = state_.files().back();
  // Neither its records nor its length could be read at the start.
  if (file.bytes == 0) file.bytes = env_.disk.size(path(found_)).value_or(0);
  write_again(env_, path(found_), file.bytes, [this, alive = alive_](const Status& status) {
    if (!*alive) return;
    if (!status) {
      counters_.sync_errors++;
      env_.log.error("spool_sync_failed", {{"file", path(found_)}, {"error", status.error().text}});
      retry_timer_ = env_.loop.after(options_.retry_ms, [this] {
        retry_timer_ = 0;
        write_found_again();
      });
      return;
    }
    // A file system may have dropped the pages that it could not write: what reads no more is named before anybody
    // looks for it, so that the journals give back what they have of it.
    const Content content = content_of(state_.files().back(), nullptr);
    if (!content.seqs.empty()) give_up(content.seqs, content.lost, {});
    found_durable();
  });
}

void Spool::found_durable() {
  found_ = 0;
  started_ = true;
  begin_file();
  if (const auto durable = std::exchange(durable_, nullptr)) durable();
}

// ---- Writing: ops_ -> one batch -> append -> sync -> apply

void Spool::queue(Op op) {
  waiting_bytes_ += op.record.size();
  ops_.push_back(std::move(op));
  pump();
}

void Spool::pump() {
  if (!started_ || busy_ || ops_.empty() || retry_timer_ != 0) return;
  uint64_t bytes = 0;
  size_t count = 0;
  for (const Op& op : ops_) {
    if (count > 0 && (op.begins_file || bytes + op.record.size() > (1u << 20))) break;
    bytes += op.record.size();
    count++;
  }
  const bool full = !present_.runs.empty() && present_.bytes + bytes > file_bytes_;
  if (open_ && (full || std::exchange(ops_.front().begins_file, false))) {
    env_.disk.close(file_);
    open_ = false;
  }
  if (!open_) {
    begin_file();
    return;
  }
  busy_ = true;
  batch_.clear();
  buffer_->clear();
  for (; count > 0; --count) {
    batch_.push_back(std::move(ops_.front()));
    ops_.pop_front();
    buffer_->insert(buffer_->end(), batch_.back().record.begin(), batch_.back().record.end());
  }
  if (buffer_->empty()) {
    batch_written({});
    return;
  }
  env_.disk.append(file_, *buffer_, [this, alive = alive_, keep = buffer_](Status status) {
    if (*alive) batch_written(std::move(status));
  });
}

void Spool::batch_written(Status status) {
  if (!status && planted("spool_swallows_write_error")) return batch_synced({});
  if (!status) {
    counters_.append_errors++;
    leave_file(status);
    return;
  }
  const bool durable = std::any_of(batch_.begin(), batch_.end(), [](const Op& op) { return op.durable; });
  if (!durable || planted("spool_no_sync")) {
    env_.loop.post([this, alive = alive_] {
      if (*alive) batch_synced({});
    });
    return;
  }
  env_.disk.sync(file_, [this, alive = alive_](Status synced) {
    if (*alive) batch_synced(std::move(synced));
  });
}

void Spool::batch_synced(Status status) {
  if (!status && planted("spool_believes_failed_sync")) status = {};
  if (!status) {
    counters_.sync_errors++;
    leave_file(status);
    return;
  }
  if (failing_) env_.log.info("spool_works_again", {{"file", path(present_.number)}});
  failing_ = false;
  std::vector<Op> batch = std::move(batch_);
  batch_.clear();
  uint64_t offset = present_.bytes;
  present_.bytes += buffer_->size();
  counters_.bytes_written += buffer_->size();
  counters_.batches++;
  buffer_->clear();
  if (buffer_->capacity() > (64u << 10)) buffer_->shrink_to_fit();
  for (Op& op : batch) {
    waiting_bytes_ -= op.record.size();
    if (op.apply) op.apply(offset);
    offset += op.record.size();
  }
  busy_ = false;
  for (Op& op : batch) {
    if (op.done) op.done({});
  }
  sweep();
  pump();
}

// The file is not touched again but for cutting off what was not applied; the batch goes into the next one.
void Spool::leave_file(const Status& status) {
  if (!failing_) {
    env_.log.error("spool_write_failed", {{"file", path(present_.number)}, {"error", status.error().text}});
  }
  failing_ = true;
  env_.disk.close(file_);
  open_ = false;
  (void)env_.disk.truncate(path(present_.number), present_.bytes);
  while (!batch_.empty()) {
    ops_.push_front(std::move(batch_.back()));
    batch_.pop_back();
  }
  busy_ = false;
  retry_later();
}

void Spool::retry_later() {
  if (retry_timer_ != 0) return;
  retry_timer_ = env_.loop.after(options_.retry_ms, [this] {
    retry_timer_ = 0;
    if (open_) {
      pump();
    } else if (!busy_) {
      begin_file();
    }
  });
}

void Spool::begin_file() {
  LAMBDA_ASSERT(!open_ && !busy_);
  if (present_.number != 0) {
    state_.files().push_back(std::move(present_));
    // Looked up by boot and seq from now on; parcels of an earlier boot's journal were written among those of this one.
    auto& entries = present_index_.entries;
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return std::pair(a.boot, a.seq) < std::pair(b.boot, b.seq); });
    indices_.push_front(std::move(present_index_));
    while (indices_.size() > options_.indices_max) indices_.pop_back();
  }
  present_ = {};
  present_index_ = {};
  state_.forget_finished();
  const uint64_t number = next_number_++;
  auto file = env_.disk.open_append(path(number));
  if (!file) {
    file_begun(number, tl::unexpected(file.error()));
    return;
  }
  file_ = *file;
  busy_ = true;
  buffer_->clear();
  append_file_header(*buffer_, {FileKind::kSpool, number, env_.clock.utc_ms(), 0});
  for (const auto& body : state_.checkpoint()) append_record(*buffer_, kRecordCheckpoint, body);
  const auto ended = [this, number](Status status) { file_begun(number, std::move(status)); };
  env_.disk.append(file_, *buffer_, [this, alive = alive_, keep = buffer_, ended](Status written) {
    if (!*alive) return;
    if (!written) return ended(std::move(written));
    env_.disk.sync(file_, [this, alive, ended](Status synced) {
      if (!*alive) return;
      if (!synced || planted("spool_no_dir_sync")) return ended(std::move(synced));
      env_.disk.sync_dir(options_.dir, [alive, ended](Status named) {
        if (*alive) ended(std::move(named));
      });
    });
  });
}

void Spool::file_begun(uint64_t number, Status status) {
  const bool opened = busy_;
  busy_ = false;
  if (!status) {
    counters_.append_errors++;
    if (!failing_) env_.log.error("spool_write_failed", {{"file", path(number)}, {"error", status.error().text}});
    failing_ = true;
    if (opened) {
      env_.disk.close(file_);
      (void)env_.disk.remove(path(number));
    }
    retry_later();
    return;
  }
  open_ = true;
  present_.number = number;
  present_.bytes = buffer_->size();
  present_index_.file = number;
  counters_.bytes_written += buffer_->size();
  buffer_->clear();
  buffer_->shrink_to_fit();
  sweep();
  pump();
}

// ---- What goes in

Boot& Spool::begin_boot(uint64_t id, uint64_t previous, int64_t started_ms, std::shared_ptr<SeriesTable> series,
                        std::vector<uint8_t> hello_signature) {
  LAMBDA_ASSERT(state_.find(id) == nullptr);
  Boot& boot = state_.find_or_add(id);
  boot.previous = previous;
  boot.started_ms = started_ms;
  boot.series = std::move(series);
  boot.hello_signature = std::move(hello_signature);
  boot.held = true;
  tell_boot(boot);
  return boot;
}

void Spool::tell_boot(const Boot& boot) {
  Op op;
  append_record(op.record, kRecordBegun, encode_begun(boot));
  op.durable = true;
  queue(std::move(op));
}

void Spool::append(std::span<const uint8_t> up, const Digest& digest, Done done) {
  const auto refuse = [&](Error error) {
    env_.loop.post([done = std::move(done), error = std::move(error)] { done(tl::unexpected(error)); });
  };
  const auto parcel = parcel_in_up(up);
  if (!parcel) return refuse(parcel.error());
  std::vector<std::byte> body;
  body.reserve(parcel->size() + 64);
  uint64_t points = 0;
  if (auto facts = parse_parcel(*parcel)) {
    points = facts->points;
  } else {
    return refuse(facts.error());
  }
  append_spooled(body, *parcel, digest, points);
  Op op;
  append_record(op.record, kRecordSpooledParcel, body);
  op.durable = true;
  op.done = std::move(done);
  const size_t parcel_bytes = parcel->size();
  op.apply = [this, digest, parcel_bytes, record = std::span<const std::byte>(op.record)](uint64_t offset) {
    const auto view = parse_spooled(record.subspan(kRecordHeadBytes));
    LAMBDA_ASSERT(view.has_value());
    const auto facts = parse_parcel(view->parcel);
    LAMBDA_ASSERT(facts.has_value());
    if (auto status = state_.apply_parcel(*facts, digest, present_); !status) {
      env_.log.error("spool_parcel_disagrees", {{"error", status.error().text}});
    }
    present_index_.entries.push_back(
        {facts->boot, facts->seq, offset, static_cast<uint32_t>(parcel_bytes), static_cast<uint32_t>(facts->points)});
    counters_.parcels_written++;
    counters_.points_written += facts->points;
  };
  queue(std::move(op));
}

void Spool::settled(uint64_t id, uint64_t first_seq, uint64_t last_seq) {
  Boot* boot = state_.find(id);
  if (boot == nullptr) return;
  last_seq = std::min(last_seq, boot->next_seq - 1);
  for (uint64_t seq = boot->gone.next_missing(std::max<uint64_t>(first_seq, 1)); seq <= last_seq;
       seq = boot->gone.next_missing(seq + 1)) {
    counters_.parcels_settled++;
    counters_.points_settled += take_points(id, seq);
    boot->gone.add(seq);
    boot->gone_unsaved.add(seq);
  }
  start_flush_timer();
}

void Spool::start_flush_timer() {
  if (flush_timer_ != 0) return;
  flush_timer_ = env_.loop.after(options_.settled_flush_ms, [this] {
    flush_timer_ = 0;
    flush_settled();
    sweep();
  });
}

void Spool::flush_settled() {
  Op op;
  for (const auto& boot : state_.boots()) {
    if (boot->gone_unsaved.count() == 0) continue;
    append_record(op.record, kRecordSettled, encode_settled(boot->id, boot->gone_unsaved));
    boot->gone_unsaved = {};
  }
  if (!op.record.empty()) queue(std::move(op));
}

void Spool::flush(Done done) {
  flush_settled();
  Op op;
  op.durable = true;
  op.done = std::move(done);
  queue(std::move(op));
}

void Spool::finish(Done done) {
  flush_settled();
  Op op;
  op.begins_file = true;
  op.durable = true;
  op.done = std::move(done);
  queue(std::move(op));
}

void Spool::give_up(const std::vector<FileRun>& seqs, const std::vector<std::pair<uint64_t, Gap>>& lost, Done done) {
  Op gaps;
  for (const auto& [id, gap] : lost) {
    Boot* boot = state_.find(id);
    if (boot == nullptr) continue;
    boot->pending.add(gap);
    append_record(gaps.record, kRecordPendingGap, encode_pending_gap(id, gap));
  }
  Op settled_op;
  for (const FileRun& run : seqs) {
    Boot* boot = state_.find(run.boot);
    if (boot == nullptr) continue;
    SeqSet gone;
    for (uint64_t seq = boot->gone.next_missing(run.first_seq); seq <= run.last_seq;
         seq = boot->gone.next_missing(seq + 1)) {
      take_points(run.boot, seq);
      gone.add(seq);
      boot->gone.add(seq);
      counters_.parcels_given_up++;
    }
    if (gone.count() > 0) append_record(settled_op.record, kRecordSettled, encode_settled(run.boot, gone));
  }
  settled_op.durable = true;
  settled_op.done = std::move(done);
  // Two batches: the pages of one may reach the disk in any order, and then a Settled could survive without its gaps.
  gaps.durable = true;
  gaps.done = [this, next = std::make_shared<Op>(std::move(settled_op))](Status) { queue(std::move(*next)); };
  queue(std::move(gaps));
}

void Spool::refused(uint64_t id, uint64_t seq) {
  std::vector<std::pair<uint64_t, Gap>> lost;
  if (read(id, seq).empty()) return;  // given up already, as unreadable
  const auto parcel = parcel_in_up(up_);
  const auto facts = parcel ? parse_parcel(*parcel) : tl::unexpected(parcel.error());
  if (facts && facts->points > 0) {
    for (const Run& run : facts->runs) lost.push_back({id, {run, GapReason::kRefused}});
    for (const Gap& gap : facts->gaps) lost.push_back({id, gap});
    counters_.points_refused += facts->points;
  }
  give_up({{id, seq, seq}}, lost, {});
}

void Spool::add_gaps(uint64_t boot, const std::vector<Gap>& gaps) {
  std::vector<std::pair<uint64_t, Gap>> lost;
  for (const Gap& gap : gaps) lost.push_back({boot, gap});
  give_up({}, lost, {});
}

// ---- What goes out

// Removes files with nothing left in them, once a synced record says so.
void Spool::sweep() {
  if (sweeping_ || !started_ || !open_) return;
  std::vector<uint64_t> finished;
  for (const SpoolFile& file : state_.files()) {
    if (state_.finished(file)) finished.push_back(file.number);
  }
  if (finished.empty()) return;
  sweeping_ = true;
  flush([this, finished](Status) {
    for (const uint64_t number : finished) remove_file(number);
    sweeping_ = false;
    state_.forget_finished();
    enforce(extra_bytes_);
  });
}

void Spool::remove_file(uint64_t number) {
  auto& files = state_.files();
  const auto found = std::find_if(files.begin(), files.end(), [&](const auto& file) { return file.number == number; });
  if (found == files.end()) return;
  indices_.remove_if([&](const Index& index) { return index.file == number; });
  const auto damaged = std::find(damaged_.begin(), damaged_.end(), number);
  if (damaged != damaged_.end()) {
    damaged_.erase(damaged);
    quarantine(numbered_name("spool-", number));
  } else if (auto status = env_.disk.remove(path(number)); !status && status.error().code != ErrorCode::kNotFound) {
    env_.log.warn("spool_remove_failed", {{"error", status.error().text}});  // the next start finds it finished
  }
  counters_.points_settled += found->points_left;
  counters_.files_removed++;
  files.erase(found);
}

void Spool::quarantine(const std::string& name) {
  const std::string bad = name + ".bad";
  counters_.files_bad++;
  if (auto status = env_.disk.rename(options_.dir + "/" + name, options_.dir + "/" + bad); !status) {
    env_.log.error("quarantine_failed", {{"file", name}, {"error", status.error().text}});
    return;
  }
  const uint64_t bytes = env_.disk.size(options_.dir + "/" + bad).value_or(0);
  env_.log.error("file_quarantined", {{"file", bad}, {"bytes", bytes}});
  bad_files_.emplace_back(bad, bytes);
  bad_bytes_ += bytes;
  while (bad_files_.size() > options_.bad_files_max) {
    (void)env_.disk.remove(options_.dir + "/" + bad_files_.front().first);
    bad_bytes_ -= bad_files_.front().second;
    bad_files_.pop_front();
  }
}

void Spool::enforce(uint64_t extra_bytes) {
  extra_bytes_ = extra_bytes;
  if (!started_ || dropping_ || sweeping_) return;
  // One file's room is kept free, so that the bound holds while the present file grows.
  const uint64_t bound = options_.bytes_max > file_bytes_ ? options_.bytes_max - file_bytes_ : 0;
  while (!bad_files_.empty() && bytes() + extra_bytes > bound) {
    (void)env_.disk.remove(options_.dir + "/" + bad_files_.front().first);
    bad_bytes_ -= bad_files_.front().second;
    bad_files_.pop_front();
  }
  if (state_.files().empty()) return;
  if (bytes() + extra_bytes - present_.bytes > bound) {
    drop_oldest(GapReason::kSpoolBytes);
    return;
  }
  const int64_t newest = state_.files().front().newest_ms;
  if (newest > kPlausibleMs && env_.clock.utc_ms() - newest > options_.age_ms_max) drop_oldest(GapReason::kSpoolAge);
}

void Spool::drop_oldest(GapReason reason) {
  const SpoolFile file = state_.files().front();
  if (state_.finished(file)) {
    sweep();
    return;
  }
  dropping_ = true;
  const Content content = content_of(file, &reason);
  uint64_t points = 0;
  for (const auto& [boot, gap] : content.lost) points += gap.run.count;
  (reason == GapReason::kSpoolAge ? counters_.points_dropped_age : counters_.points_dropped_bytes) += points;
  counters_.files_dropped++;
  env_.log.warn(
      "spool_file_dropped",
      {{"file", path(file.number)}, {"reason", reason == GapReason::kSpoolAge ? "age" : "bytes"}, {"points", points}});
  give_up(content.seqs, content.lost, [this](Status) {
    dropping_ = false;
    sweep();
  });
}

}  // namespace lambda::agent
