// Files with blocks, asked where they lie: segments of a gateway (proto/segment.md), an agent's spool (proto/spool.md)
// and files that hold one block each (proto/block.md). Changes nothing and takes no lock, so it may run beside the
// program that writes them; what that program writes or deletes later is not seen, or is missing with a warning.
//
// A point counts once in whatever files it stands. Names and labels are those of the declarations in the same files; a
// series without any is `undeclared{boot=,ref=}`, a bare block `block{file=,boot=,ref=}`. Loop thread; cursors
// anywhere.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/env/disk.h"
#include "base/result.h"
#include "gateway/store/block_cursor.h"
#include "query/series_source.h"

namespace lambda::cli {

class BlockFiles final : public query::SeriesSource {
 public:
  static constexpr uint64_t kBlocksMax = 8'000'000;  // about 120 bytes of memory each

  // `paths`: files, or folders of which all files are read that hold blocks. kNotFound: one is not there, or there is
  // no block in any; kInvalid: a file holds something else; kFull: more than kBlocksMax. Damage inside a file is a
  // warning of every answer. `disk` must outlive this and its cursors.
  static Result<std::unique_ptr<BlockFiles>> open(Disk& disk, const std::vector<std::string>& paths);

  // From the first to the last point. Points later than `now_ms` do not count unless there are no others: a clock that
  // ran ahead should not hide the rest. Nothing when no block has a known time.
  struct Span {
    int64_t first_ms, last_ms;
  };
  std::optional<Span> span(int64_t now_ms) const;

  Result<query::Selection> select(const std::vector<query::Matcher>& matchers, int64_t from_ms, int64_t to_ms,
                                  uint64_t series_max) override;

 private:
  friend class BlockFilesReader;
  struct Series {
    std::vector<gateway::BlockRef> blocks;
    std::shared_ptr<const gateway::BootPlaces> boots;
  };
  explicit BlockFiles(Disk& disk) : disk_(disk) {}

  Disk& disk_;
  std::map<query::Labels, Series> series_;
  std::vector<std::string> warnings_;
  std::shared_ptr<gateway::ReadCounters> counters_ = std::make_shared<gateway::ReadCounters>();
  std::shared_ptr<gateway::Summaries> summaries_ = std::make_shared<gateway::Summaries>(0);  // each is asked once
};

}  // namespace lambda::cli
