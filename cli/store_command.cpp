#include "cli/store_command.h"

#include <nlohmann/json.hpp>
#include <ostream>
#include <utility>

#include "base/record/record.h"
#include "cli/facts.h"
#include "cli/query_command.h"
#include "gateway/store/inspect.h"
#include "gateway/store/store.h"
#include "proto/store.pb.h"
#include "query/parser.h"

namespace lambda::cli {
namespace {

using nlohmann::ordered_json;

constexpr uint8_t kRecordStoredParcel = 1;  // proto/segment.md
constexpr uint8_t kRecordStoredHello = 2;
constexpr uint8_t kRecordSkeleton = 4;
constexpr int64_t kTimeMsMax = int64_t{1} << 52;
constexpr size_t kBytesBetweenLooks = 1u << 20;
constexpr int64_t kReadyPollMs = 20;

ordered_json facts_of(const gateway::StoreReport& report) {
  ordered_json facts{{"ok", report.ok()},
                     {"segments", report.segments},
                     {"segment_bytes", report.segment_bytes},
                     {"segments_replaced", report.segments_replaced},
                     {"segments_unfinished", report.segments_unfinished},
                     {"segments_refused", report.segments_refused},
                     {"records", report.records},
                     {"parcels", report.parcels},
                     {"hellos", report.hellos},
                     {"blocks", report.blocks},
                     {"merged_blocks", report.merged_blocks},
                     {"devices", report.devices},
                     {"points", report.points},
                     {"retired_points", report.retired_points},
                     {"gap_points", report.gap_points},
                     {"torn_bytes", report.torn_bytes},
                     {"index", gateway::index_state_name(report.index)},
                     {"index_text", report.index_text},
                     {"damage_count", report.damage_count},
                     {"doubled_points", report.doubled_points},
                     {"damage", ordered_json::array()},
                     {"doubled", ordered_json::array()}};
  for (const gateway::DamageFound& found : report.damage) {
    facts["damage"].push_back(
        {{"file", found.file}, {"offset", found.offset}, {"bytes", found.bytes}, {"what", found.what}});
  }
  for (const gateway::DoubleFound& found : report.doubled) {
    facts["doubled"].push_back({{"device", found.device},
                                {"boot", found.boot},
                                {"ref", found.ref},
                                {"first_ordinal", found.first_ordinal},
                                {"count", found.count},
                                {"file", found.file}});
  }
  return facts;
}

// A mistyped directory must not become an empty store.
Status expect_segments(Disk& disk, const std::string& directory) {
  const auto entries = disk.list(directory);
  if (!entries) {
    return tl::unexpected(entries.error());
  }
  for (const DirEntry& entry : *entries) {
    if (parse_numbered_name("seg-", entry.name)) {
      return {};
    }
  }
  return fail(ErrorCode::kNotFound, directory + ": no segment is there (seg-<number>.lam); is it a store?");
}

std::string site_of_record(const RecordView& record) {
  const auto parse = [](auto& message, const auto& bytes) {
    return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  };
  v1::Parcel parcel;
  if (record.type == kRecordStoredParcel) {
    v1::StoredParcel stored;
    return parse(stored, record.body) && parse(parcel, stored.parcel()) ? parcel.site() : "";
  }
  if (record.type == kRecordSkeleton) {
    v1::Skeleton skeleton;
    return parse(skeleton, record.body) && parse(parcel, skeleton.parcel()) ? parcel.site() : "";
  }
  if (record.type == kRecordStoredHello) {
    v1::StoredHello stored;
    v1::Hello hello;
    return parse(stored, record.body) && parse(hello, stored.hello()) ? hello.site() : "";
  }
  return "";
}

// The site whose store it is, as the first record that names one says. Empty: none does.
std::string site_of(Disk& disk, const std::string& directory) {
  std::string site;
  const auto entries = disk.list(directory);
  for (const DirEntry& entry : entries ? *entries : std::vector<DirEntry>()) {
    if (!site.empty()) {
      break;
    }
    if (parse_numbered_name("seg-", entry.name)) {
      (void)scan_records(disk, directory + "/" + entry.name, 0, [&](const RecordView& record) {
        site = site_of_record(record);
        return site.empty();
      });
    }
  }
  return site;
}

struct Wanted {
  std::vector<query::Matcher> matchers;
  int64_t from_ms = -kTimeMsMax;
  int64_t to_ms = kTimeMsMax;
  gateway::ExportFormat format = gateway::ExportFormat::kCsv;
};

Result<Wanted> read_wanted(const Output& output, const StoreOptions& options, int64_t now_ms) {
  Wanted wanted;
  auto matchers = query::parse_selector(options.selector);
  if (!matchers) {
    return fail(ErrorCode::kInvalid, "--match: " + matchers.error().text);
  }
  wanted.matchers = std::move(*matchers);
  for (auto [text, name, into] :
       {std::tuple(&options.start, "--start: ", &wanted.from_ms), std::tuple(&options.end, "--end: ", &wanted.to_ms)}) {
    if (text->empty()) {
      continue;
    }
    const auto time_ms = parse_moment_ms(*text, now_ms);
    if (!time_ms) {
      return fail(ErrorCode::kInvalid, name + time_ms.error().text);
    }
    *into = *time_ms;
  }
  const bool lines = options.format.empty() ? output.json : options.format == "jsonl";
  wanted.format = lines ? gateway::ExportFormat::kJsonLines : gateway::ExportFormat::kCsv;
  return wanted;
}

// Runs the loop until the store's index is complete.
Status wait_until_ready(gateway::Store& store, ExportWorld& world) {
  std::function<void()> look = [&] {
    if (store.ready()) {
      world.stop();
    } else {
      world.env.loop.after(kReadyPollMs, look);
    }
  };
  world.env.loop.post(look);
  world.run();
  return store.ready() ? Status() : fail(ErrorCode::kInvalid, "interrupted");
}

}  // namespace

int store_check(Output& output, const StoreOptions& options, Disk& disk) {
  if (auto found = expect_segments(disk, options.directory); !found) {
    return report(output, found.error());
  }
  uint64_t told = 0;
  const auto progress = [&](uint64_t bytes, uint64_t all) {
    const uint64_t per_cent =
        all == 0 ? 100 : static_cast<uint64_t>(static_cast<double>(bytes) * 100 / static_cast<double>(all));
    if (options.progress && per_cent > told) {
      told = per_cent;
      output.err << "lambda: " << per_cent << " %\n" << std::flush;
    }
  };
  const auto checked = gateway::check_store(disk, options.directory, progress);
  if (!checked) {
    return report(output, checked.error());
  }
  print_facts(output, facts_of(*checked));
  return checked->ok() ? kExitDone : kExitFailed;
}

int store_repair(Output& output, const StoreOptions& options, Disk& disk) {
  if (auto found = expect_segments(disk, options.directory); !found) {
    return report(output, found.error());
  }
  const auto repaired = gateway::repair_store(disk, options.directory);
  if (!repaired) {
    return report(output, repaired.error());
  }
  print_facts(output, {{"torn_bytes_cut", repaired->torn_bytes_cut},
                       {"records_lost", repaired->records_lost},
                       {"index_dropped", repaired->index_dropped},
                       {"quarantined", repaired->quarantined},
                       {"deleted", repaired->deleted}});
  return kExitDone;
}

Result<std::unique_ptr<gateway::Store>> open_to_read(const std::string& directory, ExportWorld& world) {
  if (auto found = expect_segments(world.env.disk, directory); !found) {
    return tl::unexpected(found.error());
  }
  gateway::StoreOptions options;
  options.directory = directory;
  options.site = site_of(world.env.disk, directory);
  options.merge_interval_ms = 0;  // looking changes nothing
  auto store = gateway::Store::open(world.env, options);
  if (!store) {
    return tl::unexpected(store.error());
  }
  if (auto ready = wait_until_ready(**store, world); !ready) {
    return tl::unexpected(ready.error());
  }
  return std::move(*store);
}

int store_export(Output& output, const StoreOptions& options, ExportWorld& world) {
  const auto wanted = read_wanted(output, options, world.env.clock.utc_ms());
  if (!wanted) {
    report(output, wanted.error());
    return kExitUsage;
  }
  auto store = open_to_read(options.directory, world);
  if (!store) {
    return report(output, store.error());
  }
  size_t since_look = 0;
  const auto sink = [&](const std::string& lines) -> Status {
    output.out << lines;
    since_look += lines.size();
    if (since_look > kBytesBetweenLooks) {  // let signals in
      since_look = 0;
      world.env.loop.post(world.stop);
      world.run();
    }
    if (!output.out) {
      return fail(ErrorCode::kIo, "cannot write to standard output");
    }
    return world.interrupted() ? fail(ErrorCode::kInvalid, "interrupted") : Status();
  };
  std::vector<std::string> warnings;
  const auto points = gateway::export_points(**store, wanted->matchers, wanted->from_ms, wanted->to_ms, wanted->format,
                                             sink, &warnings);
  for (const std::string& warning : warnings) {
    output.err << "lambda: warning: " << warning << "\n";
  }
  if (!points) {
    return report(output, points.error());
  }
  return kExitDone;
}

}  // namespace lambda::cli
