#include "base/os/host_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace lambda {
namespace {

Error os_error(int number, const std::string& path) {
  ErrorCode code = ErrorCode::kIo;
  if (number == ENOENT || number == ENOTDIR) code = ErrorCode::kNotFound;
  if (number == EACCES || number == EPERM) code = ErrorCode::kDenied;
  if (number == EOPNOTSUPP) code = ErrorCode::kUnsupported;
  if (number == ESRCH) code = ErrorCode::kNotFound;  // /proc of a process that ended meanwhile
  return Error{code, path + ": " + std::strerror(number)};
}

Result<FilesystemUsage> ask_usage(const std::string& path) {
  struct statvfs found {};
  if (::statvfs(path.c_str(), &found) != 0) return tl::unexpected<Error>(os_error(errno, path));
  const uint64_t unit = found.f_frsize;
  return FilesystemUsage{found.f_blocks * unit, found.f_bfree * unit, found.f_bavail * unit, found.f_files,
                         found.f_ffree};
}

// A question to a file system that may never answer. Owned by its thread and by whoever still waits.
struct Question {
  std::mutex mutex;
  std::condition_variable answered;
  bool done = false;
  Result<FilesystemUsage> answer = FilesystemUsage{};
};

class LinuxHostFiles final : public HostFiles {
 public:
  ~LinuxHostFiles() override {
    for (const auto& [path, fd] : open_) ::close(fd);
  }

  Result<std::string_view> read_once(const std::string& path) override { return read_anew(path, false); }

  Result<std::string_view> read(const std::string& path) override {
    const auto kept = open_.find(path);
    if (kept != open_.end()) {
      const int error = read_fd(kept->second);
      if (error == 0) return std::string_view(buffer_.data(), used_);
      // What stood behind the descriptor went away (a device, a process): look again under the name.
      ::close(kept->second);
      open_.erase(kept);
    }
    return read_anew(path, true);
  }

  Status list(const std::string& folder, std::vector<std::string>& names) override {
    DIR* dir = ::opendir(folder.c_str());
    if (dir == nullptr) return tl::unexpected<Error>(os_error(errno, folder));
    size_t count = 0;
    while (count < kHostFolderNamesMax) {
      const dirent* entry = ::readdir(dir);
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (count == names.size()) names.emplace_back();
      names[count++].assign(name);
    }
    ::closedir(dir);
    names.resize(count);
    return {};
  }

  Result<std::string> resolve(const std::string& path) override {
    char resolved[PATH_MAX];
    if (::realpath(path.c_str(), resolved) == nullptr) return tl::unexpected<Error>(os_error(errno, path));
    return std::string(resolved);
  }

  Result<ClockDiscipline> clock_discipline() override {
    timex found{};
    const int state = ::adjtimex(&found);
    if (state < 0) return tl::unexpected<Error>(os_error(errno, "adjtimex"));
    ClockDiscipline out;
    out.offset_ns = (found.status & STA_NANO) != 0 ? found.offset : int64_t{found.offset} * 1000;
    out.frequency = found.freq;
    out.error_max_us = found.maxerror;
    out.error_us = found.esterror;
    out.status = found.status;
    out.loop_constant = found.constant;
    out.tick_us = found.tick;
    out.tai_offset_s = found.tai;
    out.synchronised = state != TIME_ERROR;
    return out;
  }

  Result<FilesystemUsage> usage(const std::string& mount_point, bool may_hang) override {
    if (!may_hang) return ask_usage(mount_point);
    const auto hung = hung_.find(mount_point);
    if (hung != hung_.end()) {
      {
        const std::lock_guard lock(hung->second->mutex);
        if (!hung->second->done) return no_answer(mount_point);
      }
      hung_.erase(hung);
    }
    return ask_on_a_thread(mount_point);
  }

  uint64_t page_bytes() const override { return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)); }

 private:
  Result<std::string_view> read_anew(const std::string& path, bool keep) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tl::unexpected<Error>(os_error(errno, path));
    const int error = read_fd(fd);
    if (keep && error == 0 && open_.size() < kHostFilesOpenMax && made_by_kernel(fd)) {
      open_.emplace(path, fd);
    } else {
      ::close(fd);
    }
    if (error == EFBIG) return fail(ErrorCode::kFull, path + ": longer than " + std::to_string(kHostFileBytesMax));
    if (error != 0) return tl::unexpected<Error>(os_error(error, path));
    return std::string_view(buffer_.data(), used_);
  }

  Result<FilesystemUsage> ask_on_a_thread(const std::string& mount_point) {
    if (hung_.size() >= kUsageThreadsMax) sweep();
    if (hung_.size() >= kUsageThreadsMax) return no_answer(mount_point);
    auto question = std::make_shared<Question>();
    std::thread([question, mount_point] {
      auto answer = ask_usage(mount_point);
      const std::lock_guard lock(question->mutex);
      question->answer = std::move(answer);
      question->done = true;
      question->answered.notify_one();
    }).detach();  // a thread in an uninterruptible system call cannot be joined
    std::unique_lock lock(question->mutex);
    if (question->answered.wait_for(lock, std::chrono::milliseconds(kUsageWaitMs), [&] { return question->done; })) {
      return question->answer;
    }
    hung_.emplace(mount_point, question);
    return no_answer(mount_point);
  }

  static tl::unexpected<Error> no_answer(const std::string& path) {
    return fail(ErrorCode::kUnavailable, path + ": the file system does not answer");
  }

  // Only files whose content is made at each read may be kept open: others can be replaced under their name.
  static bool made_by_kernel(int fd) {
    struct statfs found {};
    return ::fstatfs(fd, &found) == 0 && (found.f_type == PROC_SUPER_MAGIC || found.f_type == SYSFS_MAGIC);
  }

  // Fills buffer_ and used_; returns 0 or errno. /proc claims size 0 and may give less than asked: only 0 ends it.
  int read_fd(int fd) {
    used_ = 0;
    for (;;) {
      if (used_ == buffer_.size()) {
        if (buffer_.size() >= kHostFileBytesMax) return EFBIG;
        buffer_.resize(buffer_.size() * 2);
      }
      const ssize_t got = ::pread(fd, buffer_.data() + used_, buffer_.size() - used_, static_cast<off_t>(used_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno;
      if (got == 0) return 0;
      used_ += static_cast<size_t>(got);
    }
  }

  void sweep() {
    for (auto at = hung_.begin(); at != hung_.end();) {
      bool done = false;
      {
        const std::lock_guard lock(at->second->mutex);
        done = at->second->done;
      }
      at = done ? hung_.erase(at) : std::next(at);
    }
  }

  std::unordered_map<std::string, int> open_;
  std::unordered_map<std::string, std::shared_ptr<Question>> hung_;
  std::vector<char> buffer_ = std::vector<char>(16 * 1024);
  size_t used_ = 0;
};

}  // namespace

std::unique_ptr<HostFiles> make_host_files() {
  return std::make_unique<LinuxHostFiles>();
}

}  // namespace lambda
