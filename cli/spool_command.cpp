#include "cli/spool_command.h"

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>
#include <vector>

#include "agent/spool/seq_set.h"
#include "base/record/record.h"
#include "cli/facts.h"
#include "proto/store.pb.h"

namespace lambda::cli {
namespace {

using nlohmann::ordered_json;

constexpr uint8_t kRecordRow = 18;  // proto/spool.md
constexpr uint8_t kRecordCheckpoint = 32;
constexpr uint8_t kRecordSpooledParcel = 33;
constexpr uint8_t kRecordSettled = 34;
constexpr uint64_t kSeqMax = uint64_t{1} << 62;

template <class Message>
bool parse(Message& message, std::span<const std::byte> bytes) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

std::string boot_text(uint64_t boot) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out(16, '0');
  for (size_t i = 16; i-- > 0; boot >>= 4) {
    out[i] = kHex[boot & 15];
  }
  return out;
}

struct Parcel {
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t points = 0;
  v1::Parcel message;
  bool settled = false;
};

// The directory's files, oldest first of each kind; what is settled is known once collect_settled() ran, since it
// stands behind the parcels it is about.
class SpoolDirectory {
 public:
  static Result<SpoolDirectory> open(Disk& disk, const std::string& directory) {
    const auto entries = disk.list(directory);
    if (!entries) {
      return tl::unexpected(entries.error());
    }
    SpoolDirectory found(disk, directory);
    for (const DirEntry& entry : *entries) {
      if (parse_numbered_name("spool-", entry.name)) {
        found.spools_.push_back(entry);
      } else if (parse_numbered_name("journal-", entry.name)) {
        found.journals_.push_back(entry);
      }
    }
    if (found.spools_.empty() && found.journals_.empty()) {
      return fail(ErrorCode::kNotFound, directory + ": neither spool-<number>.lam nor journal-<number>.lam is there");
    }
    return found;
  }

  void collect_settled() {
    for (const DirEntry& file : spools_) {
      (void)scan(file.name, [&](const RecordView& record) { note_settled(record); });
    }
  }

  // `visit(parcel)` for every parcel, `undecodable(file, offset)` for records that hold none. An error ends it unless
  // the file is gone.
  template <class Visit, class Undecodable>
  Result<std::vector<std::pair<std::string, ScanResult>>> read_spools(Visit visit, Undecodable undecodable) {
    std::vector<std::pair<std::string, ScanResult>> results;
    for (const DirEntry& file : spools_) {
      auto result = scan(file.name, [&](const RecordView& record) {
        if (record.type != kRecordSpooledParcel) {
          return;
        }
        v1::SpooledParcel spooled;
        Parcel parcel{file.name, record.offset, record.body.size(), 0, {}, false};
        if (!parse(spooled, record.body) || !parcel.message.ParseFromString(spooled.parcel())) {
          undecodable(file.name, record.offset);
          return;
        }
        parcel.points = spooled.points();
        const auto settled = settled_.find(parcel.message.boot());
        parcel.settled = settled != settled_.end() && settled->second.contains(parcel.message.seq());
        visit(parcel);
      });
      if (!add_result(results, file.name, std::move(result))) {
        return tl::unexpected(last_error_);
      }
    }
    return results;
  }

  Result<std::vector<std::pair<std::string, ScanResult>>> read_journals(uint64_t& rows) {
    std::vector<std::pair<std::string, ScanResult>> results;
    for (const DirEntry& file : journals_) {
      auto result = scan(file.name, [&](const RecordView& record) { rows += record.type == kRecordRow ? 1 : 0; });
      if (!add_result(results, file.name, std::move(result))) {
        return tl::unexpected(last_error_);
      }
    }
    return results;
  }

 private:
  SpoolDirectory(Disk& disk, std::string directory) : disk_(disk), directory_(std::move(directory)) {}

  Result<ScanResult> scan(const std::string& name, const std::function<void(const RecordView&)>& visit) {
    return scan_records(disk_, directory_ + "/" + name, 0, [&](const RecordView& record) {
      visit(record);
      return true;
    });
  }

  bool add_result(std::vector<std::pair<std::string, ScanResult>>& results, const std::string& name,
                  Result<ScanResult> result) {
    if (!result && result.error().code == ErrorCode::kNotFound) {
      return true;
    }
    if (!result && result.error().code == ErrorCode::kIo) {
      last_error_ = result.error();
      return false;
    }
    if (!result) {  // its header is none: the whole file is damaged
      ScanResult damaged;
      damaged.damage.push_back({0, disk_.size(directory_ + "/" + name).value_or(0), result.error().text});
      damaged.damage_count = 1;
      results.emplace_back(name, std::move(damaged));
      return true;
    }
    results.emplace_back(name, std::move(*result));
    return true;
  }

  void add_settled(uint64_t boot, uint64_t first, uint64_t last) {
    if (first <= last && last < kSeqMax) {
      settled_[boot].add(first, last);
    }
  }

  void note_settled(const RecordView& record) {
    v1::Checkpoint checkpoint;
    v1::Settled settled;
    if (record.type == kRecordCheckpoint && parse(checkpoint, record.body)) {
      for (const v1::BootState& boot : checkpoint.boots()) {
        if (boot.floor_seq() > 1) {
          add_settled(boot.boot(), 1, boot.floor_seq() - 1);
        }
        for (const v1::SeqRange& range : boot.settled()) {
          add_settled(boot.boot(), range.first(), range.last());
        }
      }
    } else if (record.type == kRecordSettled && parse(settled, record.body)) {
      for (const v1::SeqRange& range : settled.seqs()) {
        add_settled(settled.boot(), range.first(), range.last());
      }
    }
  }

  Disk& disk_;
  std::string directory_;
  std::vector<DirEntry> spools_, journals_;
  std::map<uint64_t, agent::SeqSet> settled_;
  Error last_error_{ErrorCode::kIo, {}};
};

struct Tally {
  uint64_t files = 0, records = 0, torn_tails = 0, damage_count = 0;
  ordered_json damage = ordered_json::array();

  // Files of one kind, oldest first: only the newest may have a torn end.
  void add(const std::vector<std::pair<std::string, ScanResult>>& results) {
    for (size_t i = 0; i < results.size(); ++i) {
      const auto& [name, result] = results[i];
      ++files;
      records += result.records;
      damage_count += result.damage_count;
      for (const RecordDamage& found : result.damage) {
        damage.push_back({{"file", name}, {"offset", found.offset}, {"bytes", found.bytes}, {"what", found.what}});
      }
      if (result.torn_tail && i + 1 == results.size()) {
        ++torn_tails;
      } else if (result.torn_tail) {
        ++damage_count;
        damage.push_back(
            {{"file", name}, {"offset", result.good_end}, {"what", "torn end of a file that is not the newest"}});
      }
    }
  }
};

}  // namespace

int spool_check(Output& output, const SpoolOptions& options, Disk& disk) {
  auto spool = SpoolDirectory::open(disk, options.directory);
  if (!spool) {
    return report(output, spool.error());
  }
  spool->collect_settled();
  Tally tally;
  uint64_t parcels = 0, points = 0, unsettled_parcels = 0, unsettled_points = 0, gap_points = 0, rows = 0;
  const auto spools = spool->read_spools(
      [&](const Parcel& parcel) {
        ++parcels;
        points += parcel.points;
        unsettled_parcels += parcel.settled ? 0 : 1;
        unsettled_points += parcel.settled ? 0 : parcel.points;
        for (const v1::Gap& gap : parcel.message.gaps()) {
          gap_points += gap.count();
        }
      },
      [&](const std::string& file, uint64_t offset) {
        ++tally.damage_count;
        tally.damage.push_back({{"file", file}, {"offset", offset}, {"what", "the record holds no parcel"}});
      });
  if (!spools) {
    return report(output, spools.error());
  }
  const auto journals = spool->read_journals(rows);
  if (!journals) {
    return report(output, journals.error());
  }
  tally.add(*spools);
  tally.add(*journals);
  const ordered_json facts{{"ok", tally.damage_count == 0},
                           {"files", tally.files},
                           {"records", tally.records},
                           {"parcels", parcels},
                           {"points", points},
                           {"unsettled_parcels", unsettled_parcels},
                           {"unsettled_points", unsettled_points},
                           {"gap_points", gap_points},
                           {"journal_rows", rows},
                           {"torn_tails", tally.torn_tails},
                           {"damage_count", tally.damage_count},
                           {"damage", tally.damage}};
  print_facts(output, facts);
  return tally.damage_count == 0 ? kExitDone : kExitFailed;
}

int spool_dump(Output& output, const SpoolOptions& options, Disk& disk) {
  auto spool = SpoolDirectory::open(disk, options.directory);
  if (!spool) {
    return report(output, spool.error());
  }
  spool->collect_settled();
  if (!output.json) {
    output.out << "file,offset,boot,seq,created_ms,blocks,points,gaps,bytes,settled\n";
  }
  uint64_t undecodable = 0;
  const auto done = spool->read_spools(
      [&](const Parcel& parcel) {
        if (options.unsettled && parcel.settled) {
          return;
        }
        const v1::Parcel& message = parcel.message;
        const ordered_json line{{"file", parcel.file},
                                {"offset", parcel.offset},
                                {"boot", boot_text(message.boot())},
                                {"seq", message.seq()},
                                {"created_ms", message.created_ms()},
                                {"blocks", message.blocks_size()},
                                {"points", parcel.points},
                                {"gaps", message.gaps_size()},
                                {"bytes", parcel.bytes},
                                {"settled", parcel.settled}};
        if (output.json) {
          output.out << line.dump() << "\n";
          return;
        }
        bool first = true;
        for (const auto& [name, value] : line.items()) {
          output.out << (std::exchange(first, false) ? "" : ",")
                     << (value.is_string() ? value.get<std::string>() : value.dump());
        }
        output.out << "\n";
      },
      [&](const std::string& file, uint64_t offset) {
        ++undecodable;
        output.err << "lambda: " << file << ": the record at byte " << offset << " holds no parcel\n";
      });
  if (!done) {
    return report(output, done.error());
  }
  return undecodable == 0 ? kExitDone : kExitFailed;
}

}  // namespace lambda::cli
