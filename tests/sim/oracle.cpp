#include "tests/sim/oracle.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/record/write_again.h"
#include "lambda/block.h"
#include "lambda/stored_block.h"
#include "proto/lambda.pb.h"
#include "proto/store.pb.h"

namespace lambda::sim {
namespace {

constexpr size_t kViolationsMax = 20;
constexpr int64_t kBatchMsMax = 5'000;  // between parcels of one batch

// Reads a medium without any program's faults; only what is synced when `synced_only`.
class MediaView final : public Disk {
 public:
  MediaView(const SimMedia& media, bool synced_only) : media_(media), synced_only_(synced_only) {}

  Result<FileId> open_append(const std::string&) override { return no(); }
  void close(FileId) override {}
  void append(FileId, std::span<const std::byte>, Done) override {}
  void sync(FileId, Done) override {}
  void sync_dir(const std::string&, Done) override {}
  Result<size_t> read(const std::string& path, uint64_t offset, std::span<std::byte> into) override {
    const std::string_view bytes = content(path);
    if (offset >= bytes.size()) return size_t{0};
    const size_t count = std::min<size_t>(into.size(), bytes.size() - offset);
    std::memcpy(into.data(), bytes.data() + offset, count);
    return count;
  }
  Result<uint64_t> size(const std::string& path) override { return content(path).size(); }
  Result<std::vector<DirEntry>> list(const std::string&) override { return no(); }
  Status make_dirs(const std::string&) override { return no(); }
  Status remove(const std::string&) override { return no(); }
  Status rename(const std::string&, const std::string&) override { return no(); }
  Status truncate(const std::string&, uint64_t) override { return no(); }
  Status replace(const std::string&, std::span<const std::byte>) override { return no(); }
  Result<uint64_t> free_bytes(const std::string&) override { return no(); }

 private:
  static tl::unexpected<Error> no() { return fail(ErrorCode::kUnsupported, "for reading only"); }
  std::string_view content(const std::string& path) const {
    const auto& names = synced_only_ ? media_.synced_names : media_.files;
    const auto found = names.find(path);
    if (found == names.end()) return {};
    const std::string_view data = found->second->data;
    return synced_only_ ? data.substr(0, found->second->synced) : data;
  }

  const SimMedia& media_;
  const bool synced_only_;
};

std::vector<std::pair<Identity, Point>> points_of(const std::string& device, uint64_t boot, const std::string& bytes) {
  std::vector<Point> points(kBlockPointsMax);
  BlockInfo info;
  const auto status = read_block({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, boot, &info, points);
  std::vector<std::pair<Identity, Point>> out;
  if (!status.ok()) return out;
  for (uint32_t i = 0; i < info.count; ++i) {
    out.emplace_back(Identity{device, info.boot, info.ref, info.first_ordinal + i}, points[i]);
  }
  return out;
}

// The parcel inside a published or stored message: an Up, or the parcel itself.
bool parse_parcel(const std::string& bytes, v1::Parcel* parcel) {
  v1::Up up;
  if (up.ParseFromString(bytes) && up.has_parcel()) {
    *parcel = up.parcel();
    return true;
  }
  return parcel->ParseFromString(bytes) && parcel->version() != 0;
}

using Visit = std::function<void(const Identity&, const Point&)>;

void visit_gaps(const v1::Parcel& parcel, SegmentContent* content) {
  if (content == nullptr) return;
  for (const auto& gap : parcel.gaps()) {
    for (uint64_t i = 0; i < gap.count() && i < 1'000'000; ++i) {
      content->gaps[{parcel.device(), parcel.boot(), gap.ref(), gap.first_ordinal() + i}] |=
          1u << static_cast<uint32_t>(gap.reason());
    }
  }
}

void visit_stored_parcel(const std::string& body, const Visit& visit, SegmentContent* content) {
  v1::StoredParcel stored;
  v1::Parcel parcel;
  if (!stored.ParseFromString(body) || !parse_parcel(stored.parcel(), &parcel)) return;
  for (int i = 0; i < parcel.blocks_size(); ++i) {
    for (const auto& [identity, point] : points_of(parcel.device(), parcel.boot(), parcel.blocks(i))) {
      bool counts = !stored.partial();
      for (const auto& run : stored.accepted()) {
        counts = counts || (run.block() == static_cast<uint32_t>(i) && identity.ordinal >= run.first_ordinal() &&
                            identity.ordinal < run.first_ordinal() + run.count());
      }
      if (counts) visit(identity, point);
    }
  }
  visit_gaps(parcel, content);
}

// Points go to `visit`, gaps and what was retired into `content`, which may be null.
void visit_record(const RecordView& record, const Visit& visit, SegmentContent* content) {
  const std::string body(reinterpret_cast<const char*>(record.body.data()), record.body.size());
  if (record.type == 1) visit_stored_parcel(body, visit, content);
  if (record.type == 3 && content != nullptr) {
    v1::Retired retired;
    if (!retired.ParseFromString(body)) return;
    for (const auto& run : retired.runs()) {
      for (uint64_t i = 0; i < run.count() && i < 1'000'000; ++i) {
        content->retired.insert({retired.device(), run.boot(), run.ref(), run.first_ordinal() + i});
      }
    }
    for (const auto& gap : retired.gaps()) {
      for (uint64_t i = 0; i < gap.count() && i < 1'000'000; ++i) {
        content->gaps[{retired.device(), gap.boot(), gap.ref(), gap.first_ordinal() + i}] |=
            1u << static_cast<uint32_t>(gap.reason());
      }
    }
  }
  if (record.type == 4) {
    v1::Skeleton skeleton;
    v1::Parcel parcel;
    if (skeleton.ParseFromString(body) && parse_parcel(skeleton.parcel(), &parcel)) visit_gaps(parcel, content);
  }
  if (record.type == 5) {
    v1::Merged merged;
    if (merged.ParseFromString(body)) {
      for (const auto& [identity, point] : points_of(merged.device(), 0, merged.block())) visit(identity, point);
    }
  }
}

}  // namespace

std::string to_text(const Identity& identity) {
  char text[200];
  std::snprintf(text, sizeof text, "device=%s boot=%016llx ref=%u ordinal=%llu", identity.device.c_str(),
                static_cast<unsigned long long>(identity.boot), identity.ref,
                static_cast<unsigned long long>(identity.ordinal));
  return text;
}

void Oracle::violation(std::string text) {
  if (violations_.size() < kViolationsMax) violations_.push_back(std::move(text));
}

void Oracle::made(const Identity& identity, Point point) {
  const auto [there, fresh] = made_.emplace(identity, point);
  if (forbidden_.count(identity.device) != 0) late_.insert(identity);
  if (!fresh && !(there->second == point)) violation("an identity was given twice: " + to_text(identity));
}

void Oracle::published(const std::string& topic, std::string_view payload, int64_t now_us) {
  // lambda/v1/<site>/<device>/<leaf>
  const auto leaf = topic.rfind('/');
  const auto device = topic.rfind('/', leaf - 1);
  if (leaf == std::string::npos || device == std::string::npos) return;
  const std::string name = topic.substr(device + 1, leaf - device - 1);
  if (topic.substr(leaf) == "/up") saw_up(name, payload);
  if (topic.substr(leaf) == "/down") saw_down(name, payload, now_us);
}

void Oracle::saw_up(const std::string& device, std::string_view payload) {
  v1::Up up;
  if (!up.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return;
  if (up.has_hello()) {
    BootState& boot = boots_[{device, up.hello().boot()}];
    boot.floor_seq = std::max(boot.floor_seq, up.hello().floor_seq());
    return;
  }
  const v1::Parcel& parcel = up.parcel();
  BootState& boot = boots_[{device, parcel.boot()}];
  boot.floor_seq = std::max(boot.floor_seq, parcel.floor_seq());
  const BootKey key{device, parcel.boot()};
  const auto heard = [&](uint32_t ref, uint64_t end) {
    uint64_t& known = published_[{key, ref}];
    known = std::max(known, end);
  };
  for (const auto& gap : parcel.gaps()) heard(gap.ref(), gap.first_ordinal() + gap.count());
  if (used_again_.count({key, parcel.seq()}) != 0) return;
  const auto [first, fresh] = published_parcels_.try_emplace({key, parcel.seq()}, payload);
  if (!fresh && first->second != payload) {
    violation("two parcels of one number: " + device + " seq " + std::to_string(parcel.seq()));
  }
  auto& identities = boot.waiting[parcel.seq()];
  if (!identities.empty()) return;  // sent again
  for (const auto& block : parcel.blocks()) {
    for (const auto& [identity, point] : points_of(device, parcel.boot(), block)) {
      identities.push_back(identity);
      heard(identity.ref, identity.ordinal + 1);
    }
  }
}

void Oracle::saw_down(const std::string& device, std::string_view payload, int64_t now_us) {
  v1::Down down;
  if (!down.ParseFromArray(payload.data(), static_cast<int>(payload.size())) || !down.has_ack()) return;
  const v1::Ack& ack = down.ack();
  const auto boot = boots_.find({device, ack.boot()});
  if (boot == boots_.end()) return;
  bool looked = false;
  auto& waiting = boot->second.waiting;
  for (auto parcel = waiting.begin(); parcel != waiting.end();) {
    const uint64_t seq = parcel->first;
    bool covered = seq <= ack.contiguous_seq();
    for (const auto& range : ack.ranges()) covered = covered || (seq >= range.first() && seq <= range.last());
    if (!covered) {
      ++parcel;
      continue;
    }
    // Below the floor the device has settled or given up already: such an ack promises nothing.
    if (seq >= boot->second.floor_seq) {
      const auto never = never_ack_.find({boot->first, seq});
      if (never != never_ack_.end() && (!never->second || read_segments().points.count(*never->second) != 0)) {
        violation(
            "seq " + std::to_string(seq) + " of " + device +
            (never->second ? " was acked, against what is stored" : " was acked: forged, or with ordinals twice"));
      }
      if (forbidden_.count(device) != 0) {
        violation("seq " + std::to_string(seq) + " of " + device + " was acked, which may not send");
      }
      if (!std::exchange(looked, true)) read_synced();
      if (never != never_ack_.end()) parcel->second.clear();
      for (const auto& identity : parcel->second) {
        acked_.insert(identity);
        if (synced_.count(identity) == 0) {
          violation("acked before it was durable, at " + std::to_string(now_us) + " us: " + to_text(identity));
          break;
        }
      }
    }
    parcel = waiting.erase(parcel);
  }
}

void Oracle::read_synced() {
  MediaView view(media_, true);
  for (const auto& [path, file] : media_.synced_names) {
    if (path.rfind(folder_ + "/seg-", 0) != 0 || path.ends_with(kWriteAgainSuffix)) continue;  // is none yet
    ReadTo& read = read_to_[path];
    if (read.file != file) read = {file, 0};
    uint64_t& from = read.end;
    if (from > file->synced) from = 0;  // it was cut
    if (from == file->synced) continue;
    const auto scan = scan_records(view, path, from, [&](const RecordView& record) {
      SegmentContent told;
      visit_record(
          record, [&](const Identity& identity, const Point&) { synced_.insert(identity); }, &told);
      for (const auto& [identity, reasons] : told.gaps) gaps_synced_[identity] |= reasons;
      if (record.type == 1) check_once(path, record);
      return true;
    });
    if (scan) from = scan->good_end;
  }
}

// A point is taken as new once for ever, also after retention or merging took the record away that had it; a parcel is
// written once.
void Oracle::check_once(const std::string& path, const RecordView& record) {
  const std::string body(reinterpret_cast<const char*>(record.body.data()), record.body.size());
  const Place place{path, record.offset};
  bool news = false;
  visit_stored_parcel(
      body,
      [&](const Identity& identity, const Point&) {
        news = true;
        const auto [first, fresh] = accepted_.emplace(identity, place);
        if (!fresh && first->second != place) {
          violation("stored again, in " + path + " after " + first->second.first + ": " + to_text(identity));
        }
      },
      nullptr);
  v1::StoredParcel stored;
  v1::Parcel parcel;
  if (!stored.ParseFromString(body) || !parse_parcel(stored.parcel(), &parcel)) return;
  const auto [first, fresh] = parcels_.emplace(std::pair(BootKey(parcel.device(), parcel.boot()), stored.parcel()),
                                               std::pair(place, stored.received_ms()));
  // It may be news again when retention forgot the declarations of a boot that had nothing left; so below.
  if (!fresh && media_.files.count(first->second.first.first) != 0 && first->second.first != place &&
      std::abs(first->second.second - stored.received_ms()) < kBatchMsMax) {
    violation("a parcel written again: " + parcel.device() + " seq " + std::to_string(parcel.seq()));
  }
  const BootKey boot{parcel.device(), parcel.boot()};
  for (const auto& declaration : parcel.declarations()) {
    news = declared_.insert({boot, declaration.ref()}).second || news;
  }
  for (const auto& gap : parcel.gaps()) {
    for (uint64_t i = 0; i < gap.count() && i < 1'000'000; ++i) {
      const Identity lost{boot.first, boot.second, gap.ref(), gap.first_ordinal() + i};
      const auto [told, first_time] = gaps_seen_.emplace(lost, stored.received_ms());
      // Two parcels of one batch may tell the same gap: that only costs room.
      news = news || first_time || std::abs(told->second - stored.received_ms()) < kBatchMsMax;
    }
  }
  if (fresh && !news && parcel.clocks_size() == 0 && parcel.gaps_size() == 1 && has_points(boot)) {
    violation("written, though it brings nothing new: " + parcel.device() + " seq " + std::to_string(parcel.seq()));
  }
}

bool Oracle::has_points(const BootKey& boot) const {
  const SegmentContent content = read_segments();
  return std::any_of(content.points.begin(), content.points.end(), [&](const auto& point) {
    return point.first.device == boot.first && point.first.boot == boot.second;
  });
}

SegmentContent Oracle::read_segments() const {
  MediaView view(media_, false);
  struct Segment {
    SegmentContent content;
    std::vector<uint64_t> replaces;
    bool whole = false;
  };
  std::map<uint64_t, Segment> segments;
  for (const auto& [path, file] : media_.files) {
    if (path.rfind(folder_ + "/seg-", 0) != 0) continue;
    const auto number = parse_numbered_name("seg-", path.substr(folder_.size() + 1));
    if (!number) continue;
    Segment& segment = segments[*number];
    (void)scan_records(view, path, 0, [&](const RecordView& record) {
      visit_record(
          record,
          [&](const Identity& identity, const Point& point) {
            Stored& stored = segment.content.points[identity];
            stored.point = point;
            stored.copies++;
          },
          &segment.content);
      if (record.type == 7) segment.whole = true;
      if (record.type == 6) {
        uint64_t count = 0;
        if (record.body.size() >= 8) std::memcpy(&count, record.body.data(), 8);
        for (uint64_t i = 0; i < count && 16 + i * 8 <= record.body.size(); ++i) {
          uint64_t replaced = 0;
          std::memcpy(&replaced, record.body.data() + 8 + i * 8, 8);
          segment.replaces.push_back(replaced);
        }
      }
      return true;
    });
  }
  std::set<uint64_t> dead;
  for (const auto& [number, segment] : segments) {
    if (segment.replaces.empty()) continue;
    if (segment.whole) dead.insert(segment.replaces.begin(), segment.replaces.end());
    if (!segment.whole) dead.insert(number);
  }
  SegmentContent content;
  for (const auto& [number, segment] : segments) {
    if (dead.count(number) != 0) continue;
    for (const auto& [identity, stored] : segment.content.points) {
      Stored& sum = content.points[identity];
      if (sum.copies > 0 && !(sum.point == stored.point)) sum.copies += 1000;  // and the copies differ
      sum.point = stored.point;
      sum.copies += stored.copies;
    }
    for (const auto& [identity, reasons] : segment.content.gaps) content.gaps[identity] |= reasons;
    content.retired.insert(segment.content.retired.begin(), segment.content.retired.end());
  }
  return content;
}

void Oracle::check_acked(const char* when) {
  const SegmentContent content = read_segments();
  for (const auto& identity : acked_) {
    if (content.points.count(identity) != 0 || content.retired.count(identity) != 0) continue;
    violation(std::string("acked, and lost ") + when + ": " + to_text(identity));
    return;
  }
}

void Oracle::check_balance(const std::function<bool(const Identity&)>& must_be_stored) {
  const SegmentContent content = read_segments();
  for (const auto& [identity, stored] : content.points) {
    if (elsewhere_.count(identity.device) != 0) continue;
    const auto made = made_.find(identity);
    if (late_.count(identity) != 0) violation("stored of a device that may not send: " + to_text(identity));
    if (stored.copies != 1) violation("stored " + std::to_string(stored.copies) + " times: " + to_text(identity));
    if (made == made_.end()) {
      violation("stored, but never made: " + to_text(identity));
    } else if (!(made->second == stored.point)) {
      violation("stored with another value or time: " + to_text(identity));
    }
  }
  // Nobody who is honest may have been refused.
  for (const auto& [identity, reasons] : content.gaps) {
    if (forbidden_.count(identity.device) == 0 && (reasons & reason_bit(GapReason::kRefused)) != 0) {
      violation("refused for good: " + to_text(identity));
      break;
    }
  }
  for (const auto& [identity, reasons] : content.gaps) {
    if (elsewhere_.count(identity.device) + inventors_.count(identity.device) + made_.count(identity) != 0) continue;
    violation("named as gone, and never made: " + to_text(identity));
    break;
  }
  // What a gap named stays named, or came after all.
  for (const auto& [identity, reasons] : gaps_synced_) {
    if (content.gaps.count(identity) + content.points.count(identity) + content.retired.count(identity) != 0) continue;
    violation("a gap was forgotten: " + to_text(identity));
    break;
  }
  for (const auto& [identity, point] : made_) {
    if (content.points.count(identity) != 0 || content.retired.count(identity) != 0) continue;
    if (content.gaps.count(identity) != 0) continue;
    if (must_be_stored(identity)) violation("lost, and not named in a gap: " + to_text(identity));
  }
}

}  // namespace lambda::sim
