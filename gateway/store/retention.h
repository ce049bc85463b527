#pragma once
#include "gateway/store/store_impl.h"
namespace lambda::gateway {
class RetentionJob {
 public:
  explicit RetentionJob(StoreImpl&) {}
  bool slice() { return false; }
};
}
