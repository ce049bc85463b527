// A gateway's store with given series in it, as if devices had sent them: each value of the label "instance" is a
// device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/env/env.h"
#include "base/os/disk.h"
#include "base/os/loop.h"
#include "base/os/random.h"
#include "gateway/store/store.h"
#include "query/evaluator.h"

namespace lambda::bench {

// Labels of all series: __name__, instance, site="bench" and at most one more. Blocks are of ten minutes.
class FilledStore {
 public:
  // Ends the program when the store refuses something. The folder is not removed.
  FilledStore(const std::string& folder, const std::vector<query::ResultSeries>& series);
  ~FilledStore();

  OsLoop& loop();
  Network& network();
  gateway::Store& store();

 private:
  struct World;
  std::unique_ptr<World> world_;
};

}  // namespace lambda::bench
