#include "lambda/codecs.h"

namespace lambda {
namespace {
constexpr const BlockCoding* kAll[] = {&kXor32Coding, &kSlope64Coding, &kRuns64Coding};
}

const BlockCodings kAllCodings{kAll};

}  // namespace lambda
