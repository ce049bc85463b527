#include "gateway/store/inspect.h"

#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "base/record/record.h"
#include "gateway/store/index.h"
#include "gateway/store/record_body.h"
#include "gateway/store/runs.h"
#include "gateway/store/segment_writer.h"
#include "gateway/store/series_name.h"
#include "lambda/stored_block.h"

namespace lambda::gateway {
namespace {

constexpr size_t kNamedMax = 256;
constexpr uint64_t kSegmentBytesMax = uint64_t{1} << 30;  // repair holds one in memory
constexpr uint64_t kSeriesSamplesMax = 5'000'000;
constexpr uint64_t kSeriesMax = 1'000'000;

using StreamKey = std::tuple<std::string, uint64_t, uint32_t>;  // device, boot, ref

struct File {
  uint64_t number = 0;
  std::string path;
  uint64_t bytes = 0;
  std::optional<FileHeader> header;
  std::string header_error;
  bool refused = false;  // of a higher version
  bool ended = false;
  std::optional<std::set<uint64_t>> replaces;  // of a merged one whose Replaces can be read
  bool merged() const { return header && header->owner == kOwnerMerged; }
};

Result<std::vector<File>> find_files(Disk& disk, const std::string& directory) {
  auto entries = disk.list(directory);
  if (!entries) return tl::unexpected(entries.error());
  std::vector<File> files;
  for (const DirEntry& entry : *entries) {
    const auto number = parse_numbered_name(kSegmentPrefix, entry.name);
    if (!number || entry.bytes == 0) continue;
    File file;
    file.number = *number;
    file.path = directory + "/" + entry.name;
    file.bytes = entry.bytes;
    std::byte bytes[kFileHeaderBytes];
    auto got = disk.read(file.path, 0, bytes);
    if (!got) return tl::unexpected(got.error());
    auto header = parse_file_header({bytes, *got});
    if (header) {
      file.header = *header;
    } else {
      file.header_error = header.error().text;
      file.refused = header.error().code == ErrorCode::kUnsupported;
    }
    std::vector<std::byte> body;
    if (file.bytes >= kFileHeaderBytes + kEndRecordBytes) {
      const auto type = read_record(disk, file.path, file.bytes - kEndRecordBytes, body);
      file.ended = type && *type == static_cast<uint8_t>(SegmentRecord::kEnd);
    }
    const auto type = read_record(disk, file.path, kFileHeaderBytes, body);
    if (type && *type == static_cast<uint8_t>(SegmentRecord::kReplaces)) {
      if (const auto numbers = parse_replaces(body)) file.replaces = std::set(numbers->begin(), numbers->end());
      // A damaged header does not hide what the file is.
      if (!file.header && !file.refused) file.header = FileHeader{FileKind::kSegment, file.number, 0, kOwnerMerged};
    } else if (!file.header && !file.refused) {
      file.header = FileHeader{FileKind::kSegment, file.number, 0, kOwnerArrivals};
    }
    files.push_back(std::move(file));
  }
  return files;
}

bool unfinished(const File& file) {
  return file.merged() && !file.ended && file.replaces.has_value();
}

std::set<uint64_t> replaced_by(const std::vector<File>& files) {
  std::set<uint64_t> dead;
  for (const File& file : files) {
    if (file.merged() && file.ended && file.replaces) dead.insert(file.replaces->begin(), file.replaces->end());
  }
  return dead;
}

class Checker {
 public:
  Checker(Disk& disk, const std::string& directory, const std::function<void(uint64_t, uint64_t)>& progress)
      : disk_(disk), directory_(directory), progress_(progress) {}

  Result<StoreReport> run() {
    auto files = find_files(disk_, directory_);
    if (!files) return tl::unexpected(files.error());
    const std::set<uint64_t> dead = replaced_by(*files);
    uint64_t newest = 0;
    for (const File& file : *files) {
      all_bytes_ += file.bytes;
      if (!file.merged()) newest = file.number;
    }
    for (const File& file : *files) {
      if (file.refused) {
        report_.segments_refused++;
        damaged({file.path, 0, file.bytes, file.header_error});
      } else if (dead.count(file.number) != 0) {
        report_.segments_replaced++;
      } else if (unfinished(file)) {
        report_.segments_unfinished++;
      } else if (auto status = read(file, file.number == newest); !status) {
        return tl::unexpected(status.error());
      }
      done_bytes_ += file.bytes;
      if (progress_) progress_(done_bytes_, all_bytes_);
    }
    finish();
    compare_index(*files, dead);
    return std::move(report_);
  }

 private:
  void damaged(DamageFound damage) {
    report_.damage_count++;
    if (report_.damage.size() < kNamedMax) report_.damage.push_back(std::move(damage));
  }

  Status read(const File& file, bool newest) {
    report_.segments++;
    report_.segment_bytes += file.bytes;
    if (!file.header_error.empty()) {
      damaged({file.path, 0, kFileHeaderBytes, file.header_error});
      return {};  // its records cannot be walked before the header is mended
    }
    const auto result = scan_records(disk_, file.path, 0, [&](const RecordView& record) {
      report_.records++;
      if (auto status = visit(file, record); !status) {
        damaged({file.path, record.offset, kRecordHeadBytes + record.body.size(), status.error().text});
      }
      return true;
    });
    if (!result) return tl::unexpected(result.error());
    for (const RecordDamage& damage : result->damage) {
      damaged({file.path, damage.offset, damage.bytes, damage.what});
    }
    report_.damage_count += result->damage_count - result->damage.size();
    uint64_t end = result->good_end;
    for (const RecordDamage& damage : result->damage) end = std::max(end, damage.offset + damage.bytes);
    if (end < file.bytes) {
      if (newest) {
        report_.torn_bytes += file.bytes - end;
      } else {
        damaged({file.path, end, file.bytes - end, "no record head"});
      }
    }
    return {};
  }

  Status visit(const File& file, const RecordView& record) {
    switch (static_cast<SegmentRecord>(record.type)) {
      case SegmentRecord::kStoredParcel:
      case SegmentRecord::kSkeleton: {
        const bool skeleton = record.type == static_cast<uint8_t>(SegmentRecord::kSkeleton);
        auto parcel = skeleton ? parse_skeleton(record.body) : parse_stored_parcel(record.body);
        if (!parcel) return tl::unexpected(parcel.error());
        report_.parcels++;
        devices_.insert(parcel->device);
        for (const GapView& gap : parcel->gaps) {
          gaps_[{parcel->device, parcel->boot, gap.ref}].add(gap.first_ordinal, gap.first_ordinal + gap.count);
        }
        for (const StoredBlock& block : parcel->blocks) {
          if (auto status = take(file, parcel->device, block); !status) return status;
        }
        return {};
      }
      case SegmentRecord::kStoredHello: {
        auto hello = parse_stored_hello(record.body);
        if (!hello) return tl::unexpected(hello.error());
        report_.hellos++;
        devices_.insert(hello->device);
        return {};
      }
      case SegmentRecord::kRetired: {
        auto retired = parse_retired(record.body);
        if (!retired) return tl::unexpected(retired.error());
        for (const RetiredRun& run : retired->runs) {
          retired_[{retired->device, run.boot, run.ref}].add(run.run.first, run.run.end);
        }
        for (const RetiredGap& one : retired->gaps) {
          const GapView& gap = one.gap;
          gaps_[{retired->device, one.boot, gap.ref}].add(gap.first_ordinal, gap.first_ordinal + gap.count);
        }
        return {};
      }
      case SegmentRecord::kMerged: {
        auto merged = parse_merged(record.body);
        if (!merged) return tl::unexpected(merged.error());
        report_.merged_blocks++;
        return take(file, merged->device, merged->block);
      }
      case SegmentRecord::kReplaces: {
        auto replaces = parse_replaces(record.body);
        return replaces ? Status() : Status(tl::unexpected(replaces.error()));
      }
      case SegmentRecord::kEnd: {
        auto end = parse_end(record.body);
        if (!end) return tl::unexpected(end.error());
        if (end->bytes != record.offset) return fail(ErrorCode::kCorrupt, "an End that stands elsewhere than it says");
        return {};
      }
    }
    return {};
  }

  Status take(const File& file, const std::string& device, const StoredBlock& block) {
    BlockInfo info;
    const BlockStatus status = lambda::read_block(block.bytes, block.info.boot, &info, points_);
    if (!status.ok()) {
      return fail(ErrorCode::kCorrupt, std::string("block: ") + block_error_name(status.error) + " at its byte " +
                                           std::to_string(status.offset));
    }
    report_.blocks++;
    RunSet& runs = stored_[{device, info.boot, info.ref}];
    for (const OrdinalRun& run : block.accepted) {
      for (const OrdinalRun& twice : runs.covered(run.first, run.end)) {
        report_.doubled_points += twice.count();
        if (report_.doubled.size() < kNamedMax) {
          report_.doubled.push_back({device, info.boot, info.ref, twice.first, twice.count(), file.path});
        }
      }
      runs.add(run.first, run.end);
    }
    return {};
  }

  void finish() {
    report_.devices = devices_.size();
    for (const auto& [key, runs] : stored_) report_.points += runs.total();
    for (const auto& [key, runs] : retired_) {
      for (const OrdinalRun& run : runs.runs()) {
        for (const OrdinalRun& part : stored_[key].missing(run.first, run.end)) report_.retired_points += part.count();
      }
    }
    for (const auto& [key, runs] : gaps_) {
      RunSet there = stored_[key];
      if (const auto found = retired_.find(key); found != retired_.end()) there.add_all(found->second);
      for (const OrdinalRun& run : runs.runs()) {
        for (const OrdinalRun& part : there.missing(run.first, run.end)) report_.gap_points += part.count();
      }
    }
  }

  void compare_index(const std::vector<File>& files, const std::set<uint64_t>& dead) {
    const std::string path = directory_ + "/index.db";
    if (!Index::present(path)) return;
    bool made = false;
    auto index = Index::open(path, &made);
    if (!index || made) {
      report_.index = IndexState::kUnusable;
      report_.index_text =
          index ? path + ": is no index of this version; the next start computes it" : index.error().text;
      return;
    }
    report_.index = IndexState::kAgrees;
    std::map<uint64_t, IndexedSegment> known;
    for (const IndexedSegment& segment : (*index)->segments()) known[segment.number] = segment;
    for (const File& file : files) {
      if (file.refused || dead.count(file.number) != 0 || unfinished(file)) continue;
      const auto found = known.find(file.number);
      if (found == known.end() || found->second.indexed_to < file.bytes) report_.index = IndexState::kBehind;
    }
    if (report_.index == IndexState::kAgrees) compare_streams(**index, known);
    if (!(*index)->ok()) {
      report_.index = IndexState::kUnusable;
      report_.index_text = (*index)->error().text;
    }
  }

  void compare_streams(Index& index, const std::map<uint64_t, IndexedSegment>& known) {
    std::map<std::string, int64_t> devices;
    for (const DeviceRow& row : index.devices()) devices[row.name] = row.id;
    for (const auto& [key, runs] : stored_) {
      const auto& [device, boot, ref] = key;
      RunSet all = runs;
      if (const auto found = retired_.find(key); found != retired_.end()) all.add_all(found->second);
      if (all.total() == 0) continue;  // known by gaps alone: no index has to know it
      const auto row = index.boot(devices[device], boot);
      const auto stream = row ? index.stream(row->id, ref) : std::nullopt;
      const auto indexed = stream ? index.coverage(stream->id) : std::nullopt;
      std::vector<uint64_t> segments;
      for (const auto& [number, segment] : known) {
        if (row && !segment.dead && row->segments.contains(number, number + 1)) segments.push_back(number);
      }
      uint64_t placed = 0;
      for (const OrdinalRun& run : runs.runs()) {
        if (!stream) break;
        for (const BlockRow& block : index.overlapping(stream->id, run.first, run.end, segments)) placed += block.count;
      }
      if (indexed && indexed->runs() == all.runs() && placed == runs.total()) continue;
      report_.index = IndexState::kDisagrees;
      report_.index_text = device + " boot " + std::to_string(boot) + " ref " + std::to_string(ref) +
                           ": the index has " + std::to_string(placed) + " points, the segments " +
                           std::to_string(runs.total());
      return;
    }
  }

  Disk& disk_;
  const std::string& directory_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  StoreReport report_;
  uint64_t all_bytes_ = 0, done_bytes_ = 0;
  std::set<std::string> devices_;
  std::map<StreamKey, RunSet> stored_, retired_, gaps_;
  std::vector<Point> points_ = std::vector<Point>(kBlockPointsMax);
};

// The good records of a file, under a good header, with its End where it had one.
Status salvage(Disk& disk, const File& file, RepairReport* report) {
  auto original = disk.read_all(file.path, kSegmentBytesMax);
  if (!original) return tl::unexpected(original.error());
  const auto bytes = std::as_bytes(std::span(*original));
  if (auto status = disk.replace(file.path + ".damaged", bytes); !status) return status;
  report->quarantined.push_back(file.path + ".damaged");

  // Scanned from the copy with a good header: the damaged one would stop the reader.
  std::vector<std::byte> mended;
  append_file_header(mended, {FileKind::kSegment, file.number, file.header ? file.header->created_ms : 0,
                              file.header ? file.header->owner : kOwnerArrivals});
  std::vector<std::byte> whole = mended;
  if (bytes.size() > kFileHeaderBytes) whole.insert(whole.end(), bytes.begin() + kFileHeaderBytes, bytes.end());
  const std::string scratch = file.path + ".scan";
  if (auto status = disk.replace(scratch, whole); !status) return status;
  uint64_t records = 0;
  const auto result = scan_records(disk, scratch, 0, [&](const RecordView& record) {
    if (record.type == static_cast<uint8_t>(SegmentRecord::kEnd)) return true;
    append_record(mended, record.type, record.body);
    ++records;
    return true;
  });
  (void)disk.remove(scratch);
  if (!result) return tl::unexpected(result.error());
  report->records_lost += result->damage_count;
  if (file.ended || file.merged()) append_end(mended, {records, mended.size()});
  return disk.replace(file.path, mended);
}

std::string number_text(double value, bool quoted) {
  const char* quote = quoted ? "\"" : "";
  if (std::isnan(value)) return std::string(quote) + "NaN" + quote;
  if (std::isinf(value)) return std::string(quote) + (value > 0 ? "+Inf" : "-Inf") + quote;
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string csv_field(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string series_text(const query::Labels& labels, ExportFormat format) {
  if (format == ExportFormat::kJsonLines) {
    std::string out = "{\"labels\":{";
    for (const auto& [name, value] : labels) {
      if (out.back() != '{') out += ',';
      out += json_string(name) + ':' + json_string(value);
    }
    return out + "},\"time_ms\":";
  }
  std::string name;
  query::Labels rest;
  for (const auto& label : labels) {
    if (label.first == "__name__") {
      name = label.second;
    } else {
      rest.push_back(label);
    }
  }
  return csv_field(canonical_name(name, rest)) + ',';
}

}  // namespace

const char* index_state_name(IndexState state) {
  switch (state) {
    case IndexState::kMissing:
      return "missing";
    case IndexState::kAgrees:
      return "agrees";
    case IndexState::kBehind:
      return "behind";
    case IndexState::kDisagrees:
      return "disagrees";
    case IndexState::kUnusable:
      return "unusable";
  }
  return "";
}

Result<StoreReport> check_store(Disk& disk, const std::string& directory,
                                const std::function<void(uint64_t, uint64_t)>& progress) {
  if (auto there = disk.list(directory); !there) return tl::unexpected(there.error());
  const auto lock = disk.lock(directory + "/lock");
  if (!lock) return tl::unexpected(lock.error());
  return Checker(disk, directory, progress).run();
}

Result<RepairReport> repair_store(Disk& disk, const std::string& directory) {
  auto files = find_files(disk, directory);
  if (!files) return tl::unexpected(files.error());
  const auto lock = disk.lock(directory + "/lock");
  if (!lock) return tl::unexpected(lock.error());
  files = find_files(disk, directory);  // again, now that nobody else changes it
  if (!files) return tl::unexpected(files.error());
  RepairReport report;
  const std::set<uint64_t> dead = replaced_by(*files);
  uint64_t newest = 0;
  for (const File& file : *files) newest = file.merged() ? newest : file.number;
  for (const File& file : *files) {
    if (file.refused) continue;
    if (dead.count(file.number) != 0 || unfinished(file)) {
      if (auto status = disk.remove(file.path); !status) return tl::unexpected(status.error());
      report.deleted.push_back(file.path);
      continue;
    }
    uint64_t damage = file.header_error.empty() ? 0 : 1;
    uint64_t end = file.bytes;
    if (damage == 0) {
      const auto result = scan_records(disk, file.path, 0, [](const RecordView&) { return true; });
      if (!result) return tl::unexpected(result.error());
      damage = result->damage_count;
      end = result->good_end;
    }
    if (damage == 0 && end == file.bytes) continue;
    if (damage == 0 && file.number == newest) {
      if (auto status = disk.truncate(file.path, end); !status) return tl::unexpected(status.error());
      report.torn_bytes_cut += file.bytes - end;
    } else if (auto status = salvage(disk, file, &report); !status) {
      return tl::unexpected(status.error());
    }
  }
  const std::string index = directory + "/index.db";
  if (Index::present(index)) {
    if (auto status = Index::remove(index); !status) return tl::unexpected(status.error());
    report.index_dropped = true;
  }
  return report;
}

Result<uint64_t> export_points(query::SeriesSource& source, const std::vector<query::Matcher>& matchers,
                               int64_t from_ms, int64_t to_ms, ExportFormat format,
                               const std::function<Status(const std::string&)>& sink,
                               std::vector<std::string>* warnings) {
  auto selection = source.select(matchers, from_ms, to_ms, kSeriesMax);
  if (!selection) return tl::unexpected(selection.error());
  warnings->insert(warnings->end(), selection->warnings.begin(), selection->warnings.end());
  if (format == ExportFormat::kCsv) {
    if (auto status = sink("series,time_ms,value\n"); !status) return tl::unexpected(status.error());
  }
  uint64_t points = 0;
  for (query::SelectedSeries& series : selection->series) {
    auto samples = series.cursor->read(kSeriesSamplesMax);
    if (!samples) return tl::unexpected(samples.error());
    const auto damaged = series.cursor->warnings();
    warnings->insert(warnings->end(), damaged.begin(), damaged.end());
    const std::string name = series_text(series.labels, format);
    std::string lines;
    for (const query::Sample& sample : *samples) {
      lines += name + std::to_string(sample.time_ms);
      if (format == ExportFormat::kJsonLines) {
        lines += ",\"value\":" + number_text(sample.value, true) + "}\n";
      } else {
        lines += ',' + number_text(sample.value, false) + '\n';
      }
      if (lines.size() < 64u << 10) continue;
      if (auto status = sink(lines); !status) return tl::unexpected(status.error());
      lines.clear();
    }
    if (!lines.empty()) {
      if (auto status = sink(lines); !status) return tl::unexpected(status.error());
    }
    points += samples->size();
    series.cursor.reset();
  }
  return points;
}

}  // namespace lambda::gateway
