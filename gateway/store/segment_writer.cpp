#include "gateway/store/segment_writer.h"

#include <utility>

#include "base/planted.h"
#include "base/record/record.h"
#include "gateway/store/record_body.h"

namespace lambda::gateway {

std::string segment_path(const std::string& directory, uint64_t number) {
  return directory + "/" + numbered_name(kSegmentPrefix, number);
}

// What is on its way to the disk. It outlives this object when that goes first: the disk still reads the bytes.
struct SegmentWriter::Flight {
  std::vector<std::byte> bytes;
  uint64_t records = 0;
  uint64_t start = 0;  // of `bytes` in the file
  bool ends = false;   // an End record is the last
  bool fresh = false;  // the file is new
  Status append = {};
  Status sync = {};
  std::function<void(Status)> done;
};

SegmentWriter::SegmentWriter(Env& env, std::string directory, uint64_t segment_bytes_max, uint64_t* next_number)
    : env_(env), directory_(std::move(directory)), segment_bytes_max_(segment_bytes_max), next_number_(next_number) {}

SegmentWriter::~SegmentWriter() {
  close();
}

void SegmentWriter::close() {
  if (file_ != 0) env_.disk.close(file_);
  file_ = 0;
  number_ = 0;
  synced_ = 0;
  records_ = 0;
  begun_ = false;
}

void SegmentWriter::roll() {
  LAMBDA_ASSERT(!busy_);
  close();
}

SegmentWriter::Place SegmentWriter::place() {
  LAMBDA_ASSERT(!busy_);
  if (number_ == 0) number_ = (*next_number_)++;
  return {number_, file_ == 0 ? kFileHeaderBytes : synced_};
}

void SegmentWriter::write(std::vector<std::byte> batch, uint64_t records, std::function<void(Status)> done) {
  place();
  busy_ = true;
  auto flight = std::make_shared<Flight>();
  flight->records = records;
  flight->done = std::move(done);
  if (file_ == 0) {
    flight->fresh = true;
    append_file_header(flight->bytes, {FileKind::kSegment, number_, env_.clock.utc_ms(), kOwnerArrivals});
    flight->bytes.insert(flight->bytes.end(), batch.begin(), batch.end());
  } else {
    flight->start = synced_;
    flight->bytes = std::move(batch);
  }
  const uint64_t end = flight->start + flight->bytes.size();
  if (end >= segment_bytes_max_) {
    append_end(flight->bytes, {records_ + records, end});
    flight->ends = true;
  }
  launch(std::move(flight));
}

void SegmentWriter::launch(std::shared_ptr<Flight> flight) {
  // Doubtful tails first: if they came back beside the new file, their parcels would count twice.
  if (!uncut_.empty()) {
    const Cut doubtful = uncut_.back();
    const std::string path = segment_path(directory_, doubtful.number);
    Status cut = env_.disk.truncate(path, doubtful.bytes);
    if (!cut && cut.error().code == ErrorCode::kNotFound) cut = {};
    Result<FileId> again = cut ? env_.disk.open_append(path) : Result<FileId>(tl::unexpected(cut.error()));
    if (!again) {
      env_.loop.post([this, alive = std::weak_ptr(alive_), flight, error = again.error()] {
        if (!alive.expired()) finish(flight, tl::unexpected(error));
      });
      return;
    }
    if (planted("store_no_cut_sync")) {
      env_.disk.close(*again);
      uncut_.pop_back();
      return launch(std::move(flight));
    }
    env_.disk.sync(*again, [this, alive = std::weak_ptr(alive_), flight](Status status) {
      if (alive.expired()) return;
      if (!status) return finish(flight, status);
      uncut_.pop_back();
      launch(flight);
    });
    env_.disk.close(*again);
    return;
  }

  if (file_ == 0) {
    auto opened = env_.disk.open_append(segment_path(directory_, number_));
    if (!opened) {
      env_.loop.post([this, alive = std::weak_ptr(alive_), flight, error = opened.error()] {
        if (!alive.expired()) finish(flight, tl::unexpected(error));
      });
      return;
    }
    file_ = *opened;
  }
  const bool dir = flight->fresh && !planted("store_no_dir_sync");
  env_.disk.append(file_, flight->bytes, [flight](Status status) { flight->append = std::move(status); });
  const auto last = [this, alive = std::weak_ptr(alive_), flight](Status status) {
    if (alive.expired()) return;
    if (!flight->append) status = flight->append;
    if (status && !flight->sync) status = flight->sync;
    if (!status && status.error().code == ErrorCode::kFull && planted("store_swallows_full_disk")) status = {};
    if (!status && flight->append && planted("store_retries_failed_sync")) return sync_again(flight);
    finish(flight, std::move(status));
  };
  if (planted("store_no_sync") || planted("store_ack_before_sync")) {
    env_.loop.post([last] { last({}); });
    if (planted("store_ack_before_sync")) env_.disk.sync(file_, [](const Status&) {});
    return;
  }
  if (!dir) {
    env_.disk.sync(file_, last);
    return;
  }
  env_.disk.sync(file_, [flight](Status status) { flight->sync = std::move(status); });
  env_.disk.sync_dir(directory_, last);
}

// The mistake of asking a failed sync again: only ever planted.
void SegmentWriter::sync_again(const std::shared_ptr<Flight>& flight) {
  const auto again = env_.disk.open_append(segment_path(directory_, number_));
  if (!again) return finish(flight, tl::unexpected(again.error()));
  env_.disk.sync(*again, [this, alive = std::weak_ptr(alive_), flight](Status status) {
    if (!alive.expired()) finish(flight, std::move(status));
  });
  env_.disk.close(*again);
}

void SegmentWriter::finish(const std::shared_ptr<Flight>& flight, Status status) {
  busy_ = false;
  if (status) {
    counters_.syncs++;
    synced_ = last_end_ = flight->start + flight->bytes.size();
    records_ += flight->records;
    begun_ = true;
    if (flight->ends) close();
  } else {
    cut(flight, status.error());
  }
  flight->done(std::move(status));
}

void SegmentWriter::cut(const std::shared_ptr<Flight>& flight, const Error& error) {
  if (!flight->append) {
    counters_.append_errors++;
  } else {
    counters_.sync_errors++;
  }
  env_.log.error("segment_write_failed", {{"segment", number_}, {"offset", flight->start}, {"error", error.text}});
  if (number_ != 0 && file_ != 0 && !planted("store_no_cut")) {
    // An empty file is left: its number is used up, and a file without a header holds nothing.
    uncut_.push_back({number_, begun_ ? synced_ : 0});
    // At once, so that nobody reads what was not believed; before the next write again, with a sync behind it.
    (void)env_.disk.truncate(segment_path(directory_, number_), uncut_.back().bytes);
  }
  close();
}

}  // namespace lambda::gateway
