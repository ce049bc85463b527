// The agent's own files, as a bad disk may have left them: any bytes as a journal and as a spool file. Starting must
// succeed, and what is read must be safe to pack again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent/spool/journal_replay.h"
#include "agent/spool/packer.h"
#include "agent/spool/spool.h"
#include "agent/spool/test_world.h"

using namespace lambda;
using namespace lambda::agent;

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

void read_as_journal(const std::string& bytes) {
  test::World world(1);
  world.disk.files["d/journal-0000000000000001.lam"] = {bytes, bytes.size(), true};
  auto listing = list_journals(world.disk, "d");
  require(listing.has_value());
  if (listing->files.empty()) return;
  SeriesTable table;
  GapSet pending;
  JournalReplay replay(world.disk, world.log, "d", listing->files, table, pending, GapReason::kCorrupt, 100);
  while (true) {
    const ReplayPiece piece = replay.next();
    for (const PointRun& run : piece.runs) require(table.known(run.ref) && !run.points.empty());
    for (const Gap& gap : piece.gaps) require(gap.run.count > 0);
    if (piece.last) return;
  }
}

void read_as_spool(const std::string& bytes) {
  test::World world(1);
  world.disk.files["d/spool-0000000000000001.lam"] = {bytes, bytes.size(), true};
  SpoolOptions options;
  options.dir = "d";
  Spool spool(world.env, options);
  require(spool.open().has_value());
  spool.start();
  world.loop.run_for(3'000);
  require(spool.ready());
  std::vector<uint64_t> boots;
  for (const auto& boot : spool.state().boots()) boots.push_back(boot->id);
  for (const uint64_t boot : boots) {
    uint64_t seq = 0;
    size_t size = 0;
    for (int parcels = 0; parcels < 50 && spool.next(boot, seq, UINT64_MAX, &seq, &size); ++parcels) {
      const auto up = spool.read(boot, seq);
      require(up.empty() || up.size() == size);
      if (parcels % 2 == 0) spool.refused(boot, seq);
    }
  }
  world.loop.run_for(3'000);
  // What was written again is read again.
  Spool again(world.env, options);
  require(again.open().has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 64 * 1024) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  read_as_journal(bytes);
  read_as_spool(bytes);
  return 0;
}
