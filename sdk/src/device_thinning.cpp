// What thinning took goes into the parcel of the block that is left. A device whose owner does not choose it does not
// link this.
#include "device.h"

namespace lambda {
namespace {

GapView gap_of(const SealedBlock& block) {
  return {block.info.ref, block.info.first_ordinal - block.thinned, block.thinned, GapReason::kThinned};
}

}  // namespace

class ThinnedParcels {
 public:
  static bool plan(const SealedBlock& block, ParcelPlan* plan) {
    ParcelPlan with = *plan;
    if (!with.add_block(block.bytes) || (block.thinned != 0 && !with.add(gap_of(block)))) return false;
    *plan = with;
    return true;
  }
  static void tell(const Device& device, uint8_t boot, uint32_t blocks, ParcelBuilder* parcel) {
    SealedBlock block;
    for (uint32_t i = 0; i < blocks && device.next_ready(boot, &block); ++i) {
      if (block.thinned != 0) parcel->gap(gap_of(block));
    }
  }
};

const DevicePressure lam_pressure_thin = {&kThinGauges, ThinnedParcels::plan, ThinnedParcels::tell};

}  // namespace lambda
