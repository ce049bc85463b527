#pragma once
#include "gateway/store/store_impl.h"
namespace lambda::gateway {
class MergeJob {
 public:
  explicit MergeJob(StoreImpl&) {}
  bool slice() { return false; }
};
}
