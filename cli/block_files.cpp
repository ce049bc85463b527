#include "cli/block_files.h"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/record/record.h"
#include "gateway/store/record_body.h"
#include "gateway/store/segment_writer.h"
#include "lambda/block.h"
#include "lambda/codecs.h"
#include "lambda/stored_block.h"
#include "proto/store.pb.h"
#include "query/labels.h"
#include "query/matcher.h"

namespace lambda::cli {
namespace {

using gateway::BlockRef;
using gateway::BootRow;
using gateway::OrdinalRun;
using gateway::SegmentPin;
using gateway::SegmentRecord;

constexpr uint8_t kRecordCheckpoint = 32;  // proto/spool.md
constexpr uint8_t kRecordSpooledParcel = 33;
constexpr uint8_t kRecordBegun = 35;
constexpr uint64_t kBareBlockBytesMax = 1u << 20;
constexpr size_t kErrorBytesMax = 2'000;

template <class Message>
bool parse(Message& message, std::string_view bytes) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string hex_word(uint64_t value) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) out[i] = kHex[value & 15];
  return out;
}

std::string file_name(const std::string& path) {
  return path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
}

struct File {
  std::string path, folder;
  FileKind kind = FileKind::kSegment;
  uint64_t number = 0;
  bool bare = false;  // one block and nothing else
};

struct Boot {
  BootRow row;
  std::map<uint32_t, ClockView> clocks;
  std::map<uint32_t, std::vector<BlockRef>> streams;  // by ref
};
struct Device {
  std::string site;
  std::map<uint64_t, Boot> boots;
};

}  // namespace

// Goes through the files once and remembers where which block stands.
class BlockFilesReader {
 public:
  explicit BlockFilesReader(BlockFiles& out) : out_(out), disk_(out.disk_) {}

  Status read(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      if (auto added = add_path(path); !added) return added;
    }
    find_replaced();
    for (const File& file : files_) {
      if (replaced_.contains({file.folder, file.number}) && file.kind == FileKind::kSegment && !file.bare) continue;
      if (auto read = file.bare ? read_bare(file) : read_records(file); !read) return read;
    }
    if (blocks_ == 0) {
      std::string text = paths.front() + (paths.size() > 1 ? " and the others" : "") +
                         ": no block is there (segments, spool files, or files of one block)";
      for (const std::string& warning : out_.warnings_) text += "; " + warning;
      return fail(ErrorCode::kNotFound, text.substr(0, kErrorBytesMax));
    }
    name_series();
    return {};
  }

 private:
  using StreamKey = std::tuple<std::string, uint64_t, uint32_t>;  // device (empty: not known), boot, ref

  void warn(std::string text) { out_.warnings_.push_back(std::move(text)); }

  // ---- which files
  Status add_path(const std::string& path) {
    std::string folder = path;
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    const auto entries = disk_.list(folder);
    if (!entries) {
      if (auto there = disk_.size(path); !there) return tl::unexpected(there.error());
      const size_t slash = path.rfind('/');
      return add_file(path, slash == std::string::npos ? "." : path.substr(0, slash), true);
    }
    for (const DirEntry& entry : *entries) {
      if (auto added = add_file(folder + "/" + entry.name, folder, false); !added) return added;
    }
    return {};
  }

  // In a folder files of other kinds are passed over; one that was named must be of a known kind.
  Status add_file(const std::string& path, const std::string& folder, bool named) {
    std::byte head[kFileHeaderBytes];
    const auto got = disk_.read(path, 0, head);
    if (!got) return tl::unexpected(got.error());
    File file{.path = path, .folder = folder};
    const auto header = parse_file_header({head, *got});
    if (header) {
      file.kind = header->kind;
      file.number = header->number;
    } else if (header.error().code == ErrorCode::kUnsupported) {
      if (named) return fail(ErrorCode::kUnsupported, path + ": " + header.error().text);
      warn(path + ": left out: " + header.error().text);
      return {};
    } else if (const auto number = parse_numbered_name(gateway::kSegmentPrefix, file_name(path)); number) {
      file.number = *number;  // a damaged header hides no records
    } else if (parse_numbered_name("spool-", file_name(path))) {
      file.kind = FileKind::kSpool;
    } else if (*got > 0 && (static_cast<uint8_t>(head[0]) >> 4) == 0xB) {
      file.bare = true;
    } else if (named) {
      return fail(ErrorCode::kInvalid, path + ": neither a segment, nor a spool file, nor a block");
    } else {
      return {};
    }
    if (file.kind == FileKind::kJournal) {
      warn(path + ": left out: a journal holds points that are in no block yet");
      return {};
    }
    files_.push_back(std::move(file));
    return {};
  }

  // Of a finished merge the files that it replaces are dead, of an unfinished one it is itself.
  void find_replaced() {
    std::vector<std::byte> body;
    for (const File& file : files_) {
      if (file.bare || file.kind != FileKind::kSegment) continue;
      const auto first = read_record(disk_, file.path, kFileHeaderBytes, body);
      if (!first || *first != static_cast<uint8_t>(SegmentRecord::kReplaces)) continue;
      const auto numbers = gateway::parse_replaces(body);
      if (!numbers) continue;
      const uint64_t bytes = disk_.size(file.path).value_or(0);
      const auto last = bytes < kFileHeaderBytes + gateway::kEndRecordBytes
                            ? Result<uint8_t>(uint8_t{0})
                            : read_record(disk_, file.path, bytes - gateway::kEndRecordBytes, body);
      if (!last || *last != static_cast<uint8_t>(SegmentRecord::kEnd)) {
        replaced_.insert({file.folder, file.number});
        continue;
      }
      for (const uint64_t number : *numbers) replaced_.insert({file.folder, number});
    }
  }

  // ---- what stands in them
  Status read_bare(const File& file) {
    const auto bytes = disk_.read_all(file.path, kBareBlockBytesMax);
    if (!bytes) return tl::unexpected(bytes.error());
    BlockInfo info;
    std::vector<Point> points(kBlockPointsMax);
    const auto status =
        lambda::read_block({reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size()}, 0, &info, points);
    if (!status.ok()) {
      warn(file.path + ": left out: not a good block: " + block_error_name(status.error) + " at byte " +
           std::to_string(status.offset));
      return {};
    }
    query::Labels labels = query::sorted_labels({{"__name__", "block"},
                                                 {"file", file.path},
                                                 {"boot", info.has_boot ? hex_word(info.boot) : ""},
                                                 {"ref", std::to_string(info.ref)}});
    auto& series = out_.series_[std::move(labels)];
    if (series.boots == nullptr) series.boots = std::make_shared<gateway::BootPlaces>();
    const auto pin = std::make_shared<const gateway::SegmentFile>(gateway::SegmentFile{0, file.path});
    series.blocks.push_back(ref_to(pin, info, 0, bytes->size(), {info.first_ordinal, info.first_ordinal + info.count}));
    return count_block();
  }

  Status read_records(const File& file) {
    const auto pin = std::make_shared<const gateway::SegmentFile>(gateway::SegmentFile{file.number, file.path});
    Status status;
    uint64_t unread = 0;
    const auto result = scan_records(
        disk_, file.path, 0,
        [&](const RecordView& record) {
          const bool spool = file.kind == FileKind::kSpool;
          status = spool ? take_spool_record(file, pin, record) : take_segment_record(pin, record);
          if (!status && status.error().code == ErrorCode::kCorrupt) {
            ++unread;
            status = {};
          }
          return status.has_value();
        },
        HeaderRule::kMayBeDamaged);
    if (!status) return status;
    if (!result) return tl::unexpected(result.error());
    if (result->torn_tail) {
      const uint64_t bytes = disk_.size(file.path).value_or(0);
      warn(file.path + ": left out: from byte " + std::to_string(result->good_end) + " of " + std::to_string(bytes) +
           " on there is no whole record");
    }
    if (unread + result->damage_count > 0) {
      warn(file.path + ": " + std::to_string(unread + result->damage_count) + " damaged records are left out" +
           (result->damage.empty() ? "" : ", the first at byte " + std::to_string(result->damage.front().offset)));
    }
    return {};
  }

  Status take_segment_record(const SegmentPin& pin, const RecordView& record) {
    switch (static_cast<SegmentRecord>(record.type)) {
      case SegmentRecord::kStoredParcel:
      case SegmentRecord::kSkeleton: {
        const bool skeleton = record.type == static_cast<uint8_t>(SegmentRecord::kSkeleton);
        const auto parcel = skeleton ? gateway::parse_skeleton(record.body) : gateway::parse_stored_parcel(record.body);
        if (!parcel) return tl::unexpected(parcel.error());
        Device& device = devices_[parcel->device];
        if (device.site.empty()) device.site = site_of(record, skeleton);
        for (const gateway::Declared& one : parcel->declarations) {
          declare({parcel->device, parcel->boot, one.ref}, one.name, one.labels);
        }
        for (const ClockView& clock : parcel->clocks) note_clock(device.boots[parcel->boot], clock);
        for (const gateway::StoredBlock& block : parcel->blocks) {
          if (auto taken = take_stored_block(device, pin, record, block); !taken) return taken;
        }
        return {};
      }
      case SegmentRecord::kStoredHello: {
        const auto hello = gateway::parse_stored_hello(record.body);
        if (!hello) return tl::unexpected(hello.error());
        note_hello(devices_[hello->device].boots[hello->boot].row, hello->previous_boot, hello->started_ms);
        return {};
      }
      case SegmentRecord::kMerged: {
        const auto merged = gateway::parse_merged(record.body);
        if (!merged) return tl::unexpected(merged.error());
        return take_stored_block(devices_[merged->device], pin, record, merged->block);
      }
      default:
        return {};
    }
  }

  static std::string site_of(const RecordView& record, bool skeleton) {
    v1::StoredParcel stored;
    v1::Skeleton bones;
    v1::Parcel parcel;
    const bool read = skeleton ? parse(bones, text_of(record.body)) && parse(parcel, bones.parcel())
                               : parse(stored, text_of(record.body)) && parse(parcel, stored.parcel());
    return read ? parcel.site() : "";
  }

  Status take_stored_block(Device& device, const SegmentPin& pin, const RecordView& record,
                           const gateway::StoredBlock& block) {
    const uint64_t offset = record.offset + kRecordHeadBytes + block.body_offset;
    for (const OrdinalRun& run : block.accepted) {
      Boot& boot = device.boots[block.info.boot];
      boot.streams[block.info.ref].push_back(ref_to(pin, block.info, offset, block.bytes.size(), run));
      if (auto counted = count_block(); !counted) return counted;
    }
    return {};
  }

  Status take_spool_record(const File& file, const SegmentPin& pin, const RecordView& record) {
    const std::string_view body = text_of(record.body);
    v1::Checkpoint checkpoint;
    v1::BootState begun;
    if (record.type == kRecordCheckpoint && parse(checkpoint, body)) {
      for (const v1::BootState& state : checkpoint.boots()) states_[file.folder].push_back(state);
    } else if (record.type == kRecordBegun && parse(begun, body)) {
      states_[file.folder].push_back(begun);
    }
    if (record.type != kRecordSpooledParcel) return {};
    v1::SpooledParcel spooled;
    v1::Parcel parcel;
    if (!parse(spooled, body) || !parse(parcel, spooled.parcel())) {
      return fail(ErrorCode::kCorrupt, "the record holds no parcel");
    }
    device_of_folder_[file.folder] = parcel.device();
    Device& device = devices_[parcel.device()];
    device.site = parcel.site();
    for (const v1::Declaration& one : parcel.declarations()) declare(parcel.device(), parcel.boot(), one);
    Boot& boot = device.boots[parcel.boot()];
    for (const v1::ClockSegment& clock : parcel.clocks()) note_clock(boot, view_of(clock));
    size_t at = 0;
    for (const std::string& bytes : parcel.blocks()) {
      at = body.find(bytes, at);  // protobuf copies: where it stood is found by its content, which is there in order
      BlockReader reader;
      if (!reader.open({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, parcel.boot(), kAllCodings)
               .ok()) {
        return fail(ErrorCode::kCorrupt, "a block of the parcel is damaged");
      }
      const BlockInfo& info = reader.info();
      const uint64_t offset = record.offset + kRecordHeadBytes + at;
      at += bytes.size();
      boot.streams[info.ref].push_back(
          ref_to(pin, info, offset, bytes.size(), {info.first_ordinal, info.first_ordinal + info.count}));
      if (auto counted = count_block(); !counted) return counted;
    }
    return {};
  }

  static ClockView view_of(const v1::ClockSegment& clock) {
    return {clock.segment(), clock.relative(), clock.offset_ms(), clock.known()};
  }

  static BlockRef ref_to(const SegmentPin& pin, const BlockInfo& info, uint64_t offset, size_t bytes, OrdinalRun run) {
    BlockRef ref;
    ref.segment = pin;
    ref.row.first = run.first;
    ref.row.count = static_cast<uint32_t>(run.end - run.first);
    ref.row.clock = info.clock;
    ref.row.t_min = info.t_min;
    ref.row.t_max = info.t_max;
    ref.row.segment = pin->number;
    ref.row.offset = offset;
    ref.row.length = static_cast<uint32_t>(bytes);
    ref.boot = info.boot;
    ref.ref = info.ref;
    return ref;
  }

  Status count_block() {
    if (++blocks_ <= BlockFiles::kBlocksMax) return {};
    return fail(ErrorCode::kFull,
                "more than " + std::to_string(BlockFiles::kBlocksMax) + " blocks: name fewer files, or ask a gateway");
  }

  // A known offset says more than an unknown one, in whatever order they are read.
  static void note_clock(Boot& boot, const ClockView& clock) {
    const auto [at, is_new] = boot.clocks.try_emplace(clock.segment, clock);
    if (!is_new && clock.known) at->second = clock;
  }

  static void note_hello(BootRow& row, uint64_t previous, int64_t started_ms) {
    row.has_hello = true;
    row.previous_boot = previous;
    row.started_ms = started_ms;
  }

  void declare(const StreamKey& key, const std::string& name, const query::Labels& labels) {
    query::Labels& known = names_[key];
    known = labels;
    std::erase_if(known, [](const auto& label) {
      return label.first == "instance" || label.first == "site" || label.first == "__name__";
    });
    known.emplace_back("__name__", name);
  }
  void declare(const std::string& device, uint64_t boot, const v1::Declaration& one) {
    query::Labels labels;
    for (const v1::Label& label : one.labels()) labels.emplace_back(label.name(), label.value());
    declare({device, boot, one.ref()}, one.name(), labels);
  }

  // ---- from streams to series
  void name_series() {
    for (const auto& [folder, states] : states_) {
      const auto device = device_of_folder_.find(folder);
      if (device == device_of_folder_.end()) continue;
      for (const v1::BootState& state : states) {
        Boot& boot = devices_[device->second].boots[state.boot()];
        note_hello(boot.row, state.previous_boot(), state.started_ms());
        for (const v1::ClockSegment& clock : state.clocks()) note_clock(boot, view_of(clock));
        for (const v1::Declaration& one : state.declarations()) declare(device->second, state.boot(), one);
      }
    }
    for (auto& [name, device] : devices_) add_device(name, device);
    if (undeclared_ > 0) {
      warn(std::to_string(undeclared_) + " series have no name in these files: they are undeclared{boot=,ref=}");
    }
    if (timeless_ > 0) {
      warn(std::to_string(timeless_) + " blocks are left out whose device did not know the time yet");
    }
  }

  void add_device(const std::string& name, Device& device) {
    std::vector<BootRow> rows;
    for (auto& [id, boot] : device.boots) {
      boot.row.id = static_cast<int64_t>(rows.size());
      boot.row.boot = id;
      for (const auto& [ref, blocks] : boot.streams) {
        for (const BlockRef& block : blocks) {
          boot.row.t_min = std::min(boot.row.t_min, block.row.t_min);
          boot.row.t_max = std::max(boot.row.t_max, block.row.t_max);
        }
      }
      rows.push_back(boot.row);
    }
    const auto ranks = gateway::boot_ranks(rows);
    auto places = std::make_shared<gateway::BootPlaces>();
    for (const auto& [id, boot] : device.boots) (*places)[id] = {ranks.at(boot.row.id), boot.clocks};
    for (auto& [id, boot] : device.boots) {
      for (auto& [ref, blocks] : boot.streams) {
        auto& series = out_.series_[labels_of(name, device, id, ref)];
        series.boots = places;
        for (BlockRef& block : blocks) {
          if (place(block, boot, ranks.at(boot.row.id))) series.blocks.push_back(std::move(block));
        }
      }
    }
  }

  bool place(BlockRef& block, const Boot& boot, uint32_t rank) {
    block.rank = rank;
    const auto clock = boot.clocks.find(block.row.clock);
    if (clock == boot.clocks.end()) return true;
    if (clock->second.known) {
      block.offset_ms = clock->second.offset_ms;
    } else if (clock->second.relative) {
      ++timeless_;
      return false;
    }
    return true;
  }

  query::Labels labels_of(const std::string& device_name, const Device& device, uint64_t boot, uint32_t ref) {
    query::Labels labels;
    if (const auto known = names_.find({device_name, boot, ref}); known != names_.end()) {
      labels = known->second;
    } else {
      ++undeclared_;
      labels = {{"__name__", "undeclared"}, {"boot", hex_word(boot)}, {"ref", std::to_string(ref)}};
    }
    labels.emplace_back("instance", device_name);
    labels.emplace_back("site", device.site);
    return query::sorted_labels(std::move(labels));
  }

  BlockFiles& out_;
  Disk& disk_;
  std::vector<File> files_;
  std::set<std::pair<std::string, uint64_t>> replaced_;  // folder, number
  std::map<std::string, Device> devices_;
  std::map<StreamKey, query::Labels> names_;
  std::map<std::string, std::vector<v1::BootState>> states_;  // by folder
  std::map<std::string, std::string> device_of_folder_;
  uint64_t blocks_ = 0, undeclared_ = 0, timeless_ = 0;
};

Result<std::unique_ptr<BlockFiles>> BlockFiles::open(Disk& disk, const std::vector<std::string>& paths) {
  std::unique_ptr<BlockFiles> files(new BlockFiles(disk));
  BlockFilesReader reader(*files);
  if (auto read = reader.read(paths); !read) return tl::unexpected(read.error());
  return files;
}

std::optional<BlockFiles::Span> BlockFiles::span(int64_t now_ms) const {
  std::optional<Span> all, past;
  const auto widen = [](std::optional<Span>& span, int64_t first_ms, int64_t last_ms) {
    span = span ? Span{std::min(span->first_ms, first_ms), std::max(span->last_ms, last_ms)} : Span{first_ms, last_ms};
  };
  for (const auto& [labels, series] : series_) {
    for (const BlockRef& block : series.blocks) {
      const int64_t first_ms = gateway::shifted_time(block.row.t_min, block.offset_ms);
      const int64_t last_ms = gateway::shifted_time(block.row.t_max, block.offset_ms);
      widen(all, first_ms, last_ms);
      if (last_ms <= now_ms) widen(past, first_ms, last_ms);
    }
  }
  return past ? past : all;
}

Result<query::Selection> BlockFiles::select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                            uint64_t series_max) {
  const auto wanted = query::MatcherSet::compile(matchers);
  if (!wanted) return tl::unexpected(wanted.error());
  query::Selection selection;
  selection.warnings = warnings_;
  for (const auto& [labels, series] : series_) {
    if (!wanted->matches(labels)) continue;
    std::vector<BlockRef> blocks;
    std::ranges::copy_if(series.blocks, std::back_inserter(blocks), [&](const BlockRef& block) {
      return gateway::shifted_time(block.row.t_min, block.offset_ms) <= to_ms &&
             gateway::shifted_time(block.row.t_max, block.offset_ms) >= from_ms;
    });
    if (blocks.empty()) continue;
    if (selection.series.size() == series_max) {
      return fail(ErrorCode::kFull, "more than " + std::to_string(series_max) + " series match");
    }
    selection.series.push_back(
        {labels, gateway::block_cursor(disk_, std::move(blocks), series.boots, from_ms, to_ms, counters_, summaries_)});
  }
  return selection;
}

}  // namespace lambda::cli
