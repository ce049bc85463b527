#include "base/record/write_again.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace lambda {
namespace {

constexpr uint64_t kChunkBytes = 256u << 10;

class Writing : public std::enable_shared_from_this<Writing> {
 public:
  Writing(Env& env, const std::string& path, uint64_t bytes, Disk::Done done)
      : env_(env), from_(path), to_(path + std::string(kWriteAgainSuffix)), bytes_(bytes), done_(std::move(done)) {}

  void begin() {
    if (bytes_ == 0) {
      const Status nothing = fail(ErrorCode::kInvalid, from_ + ": an empty file would take its name");
      env_.loop.post([self = shared_from_this(), nothing] { self->done_(nothing); });
      return;
    }
    (void)env_.disk.remove(to_);  // of an attempt before
    auto file = env_.disk.open_append(to_);
    if (!file) {
      env_.loop.post([self = shared_from_this(), error = file.error()] { self->done_(tl::unexpected(error)); });
      return;
    }
    file_ = *file;
    next();
  }

 private:
  void next() {
    if (at_ == bytes_) {
      env_.disk.sync(file_, [self = shared_from_this()](const Status& status) { self->take_name(status); });
      return;
    }
    chunk_.resize(std::min(kChunkBytes, bytes_ - at_));
    const auto got = env_.disk.read(from_, at_, chunk_);
    if (!got || *got == 0) {
      const Status status =
          got ? Status(fail(ErrorCode::kCorrupt, from_ + ": shorter than it was")) : tl::unexpected(got.error());
      env_.loop.post([self = shared_from_this(), status] { self->take_name(status); });
      return;
    }
    chunk_.resize(*got);
    at_ += *got;
    env_.disk.append(file_, chunk_, [self = shared_from_this()](const Status& status) {
      if (!status) return self->take_name(status);
      self->next();
    });
  }

  void take_name(Status status) {
    env_.disk.close(file_);
    if (status) status = env_.disk.rename(to_, from_);
    if (!status) {
      (void)env_.disk.remove(to_);
      return done_(status);
    }
    const auto slash = from_.rfind('/');
    env_.disk.sync_dir(slash == std::string::npos ? "." : from_.substr(0, slash),
                       [self = shared_from_this()](const Status& named) { self->done_(named); });
  }

  Env& env_;
  const std::string from_, to_;
  const uint64_t bytes_;
  const Disk::Done done_;
  FileId file_ = 0;
  uint64_t at_ = 0;
  std::vector<std::byte> chunk_;
};

}  // namespace

void write_again(Env& env, const std::string& path, uint64_t bytes, Disk::Done done) {
  std::make_shared<Writing>(env, path, bytes, std::move(done))->begin();
}

}  // namespace lambda
