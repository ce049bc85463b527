#include "gateway/ingest/ack_ranges.h"

#include <algorithm>

namespace lambda::gateway {

AckState next_ack(const AckState& known, RunSet* answered, size_t ranges_max) {
  AckState ack;
  ack.contiguous_seq = known.contiguous_seq;
  const uint64_t above = known.contiguous_seq + 1;
  RunSet chosen;
  for (const OrdinalRun& run : answered->runs()) {
    if (run.end <= above) continue;
    if (chosen.runs().size() == ranges_max) break;
    chosen.add(std::max(run.first, above), run.end);
  }
  // Ranges that hold or continue a chosen one take no further room; the others take what there is.
  for (const bool widen : {true, false}) {
    for (const auto& [first, last] : known.ranges) {
      const bool joins = chosen.intersects(first - 1, last + 2);
      if (joins == widen && (joins || chosen.runs().size() < ranges_max)) chosen.add(first, last + 1);
    }
  }
  RunSet left;
  for (const OrdinalRun& run : answered->runs()) {
    for (const OrdinalRun& rest : chosen.missing(std::max(run.first, above), run.end)) left.add(rest.first, rest.end);
  }
  *answered = std::move(left);
  for (const OrdinalRun& run : chosen.runs()) ack.ranges.emplace_back(run.first, run.end - 1);
  return ack;
}

}  // namespace lambda::gateway
