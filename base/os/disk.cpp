#include "base/os/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

namespace lambda {
namespace {

tl::unexpected<Error> os_error(int number, const std::string& path, const char* what) {
  ErrorCode code = ErrorCode::kIo;
  if (number == ENOSPC || number == EDQUOT || number == EFBIG) code = ErrorCode::kFull;
  if (number == ENOENT) code = ErrorCode::kNotFound;
  return fail(code, path + ": " + what + ": " + std::generic_category().message(number));
}

template <class Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Status sync_folder(const std::string& dir) {
  const Fd fd(retry([&] { return ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (fd.get() < 0) return os_error(errno, dir, "open");
  if (retry([&] { return ::fsync(fd.get()); }) != 0) return os_error(errno, dir, "sync of the folder");
  return {};
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Writes all of `pieces`, which it changes.
Status write_all(int fd, const std::string& path, std::vector<iovec>& pieces) {
  size_t first = 0;
  while (first < pieces.size()) {
    const int count = static_cast<int>(std::min<size_t>(pieces.size() - first, IOV_MAX));
    const ssize_t written = retry([&] { return ::writev(fd, &pieces[first], count); });
    if (written < 0) return os_error(errno, path, "write");
    auto left = static_cast<size_t>(written);
    while (first < pieces.size() && left >= pieces[first].iov_len) left -= pieces[first++].iov_len;
    if (left > 0) {
      pieces[first].iov_base = static_cast<char*>(pieces[first].iov_base) + left;
      pieces[first].iov_len -= left;
    }
  }
  return {};
}

}  // namespace

// The queue of what is to be done, and the thread that does it.
class OsDisk::Worker {
 public:
  enum class Kind { kAppend, kSync, kClose, kSyncDir };
  struct Call {
    Kind kind;
    FileId file = 0;
    std::span<const std::byte> bytes;
    std::string dir;
    Done done;
  };

  Worker(EventLoop& loop, OsDiskOptions options) : loop_(loop), options_(options), thread_([this] { run(); }) {}

  ~Worker() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
    for (const auto& [id, file] : files_) ::close(file.fd);
  }

  FileId add(int fd, std::string path) {
    std::lock_guard lock(mutex_);
    const FileId id = ++last_;
    files_.emplace(id, File{fd, std::move(path), {}});
    return id;
  }

  void ask(Call call) {
    bool over = false;
    {
      std::lock_guard lock(mutex_);
      const auto file = files_.find(call.file);
      const bool writes = call.kind == Kind::kAppend || call.kind == Kind::kSync;
      over = (call.kind == Kind::kAppend && (waiting_bytes_ + call.bytes.size() > options_.waiting_bytes_max ||
                                             calls_.size() >= options_.waiting_calls_max)) ||
             (writes && file != files_.end() && file->second.refused);
      if (over) {
        // What follows in this file must not close over the hole.
        if (file != files_.end()) file->second.refused = true;
      } else {
        waiting_bytes_ += call.bytes.size();
        calls_.push_back(std::move(call));
      }
    }
    if (!over) {
      wake_.notify_one();
      return;
    }
    refused_++;
    loop_.post([done = std::move(call.done)] {
      done(fail(ErrorCode::kFull, "too many bytes wait for the disk (waiting_bytes_max)"));
    });
  }

  uint64_t refused() const { return refused_; }

 private:
  struct File {
    int fd = -1;
    std::string path;
    Status broken;         // the error that ended it
    bool refused = false;  // an append was refused at the bound: later ones must fail too
  };
  using Answers = std::vector<std::pair<Done, Status>>;

  void run() {
    std::vector<Call> batch;
    while (true) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return ending_ || !calls_.empty(); });
        if (calls_.empty()) return;
        batch.clear();
        take(batch);
      }
      Answers answers;
      perform(batch, answers);
      // One task for the lot: a batch of hundreds must not cost hundreds of wake-ups.
      loop_.post([answers = std::move(answers)] {
        for (const auto& [done, status] : answers) {
          if (done) done(status);
        }
      });
    }
  }

  // Takes the first call and its neighbours that can be done with it. The mutex is held.
  void take(std::vector<Call>& batch) {
    do {
      waiting_bytes_ -= calls_.front().bytes.size();
      batch.push_back(std::move(calls_.front()));
      calls_.pop_front();
    } while (!calls_.empty() && batch.size() < IOV_MAX && joins(batch.front(), calls_.front()));
  }

  static bool joins(const Call& first, const Call& next) {
    return next.kind == first.kind && next.file == first.file &&
           (first.kind == Kind::kAppend || first.kind == Kind::kSync);
  }

  void perform(std::vector<Call>& batch, Answers& answers) {
    const Call& first = batch.front();
    Status status;
    if (first.kind == Kind::kSyncDir) {
      status = sync_folder(first.dir);
    } else if (first.kind == Kind::kClose) {
      std::lock_guard lock(mutex_);
      if (const auto found = files_.find(first.file); found != files_.end()) {
        ::close(found->second.fd);
        files_.erase(found);
      }
    } else {
      status = write_or_sync(batch);
    }
    for (auto& call : batch) answers.emplace_back(std::move(call.done), status);
  }

  Status write_or_sync(const std::vector<Call>& batch) {
    int fd = -1;
    std::string path;
    {
      std::lock_guard lock(mutex_);
      const auto found = files_.find(batch.front().file);
      if (found == files_.end()) return fail(ErrorCode::kInvalid, "no such open file");
      if (!found->second.broken) return found->second.broken;
      fd = found->second.fd;
      path = found->second.path;
    }
    Status status;
    if (batch.front().kind == Kind::kSync) {
      if (retry([&] { return ::fdatasync(fd); }) != 0) status = os_error(errno, path, "sync");
    } else {
      std::vector<iovec> pieces;
      pieces.reserve(batch.size());
      for (const auto& call : batch) {
        if (call.bytes.empty()) continue;
        pieces.push_back({const_cast<std::byte*>(call.bytes.data()), call.bytes.size()});
      }
      status = write_all(fd, path, pieces);
    }
    if (!status) {
      std::lock_guard lock(mutex_);
      if (const auto found = files_.find(batch.front().file); found != files_.end()) found->second.broken = status;
    }
    return status;
  }

  EventLoop& loop_;
  const OsDiskOptions options_;
  std::atomic<uint64_t> refused_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::deque<Call> calls_;
  uint64_t waiting_bytes_ = 0;
  FileId last_ = 0;
  std::unordered_map<FileId, File> files_;
  std::thread thread_;  // last: it uses all of the above
};

OsDisk::OsDisk(EventLoop& loop, OsDiskOptions options) : worker_(std::make_unique<Worker>(loop, options)) {}
OsDisk::~OsDisk() = default;

uint64_t OsDisk::refused_count() const {
  return worker_->refused();
}

Result<FileId> OsDisk::open_append(const std::string& path) {
  const int fd = retry([&] { return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600); });
  if (fd < 0) return os_error(errno, path, "open");
  return worker_->add(fd, path);
}

void OsDisk::close(FileId file) {
  worker_->ask({Worker::Kind::kClose, file, {}, {}, {}});
}

void OsDisk::append(FileId file, std::span<const std::byte> bytes, Done done) {
  worker_->ask({Worker::Kind::kAppend, file, bytes, {}, std::move(done)});
}

void OsDisk::sync(FileId file, Done done) {
  worker_->ask({Worker::Kind::kSync, file, {}, {}, std::move(done)});
}

void OsDisk::sync_dir(const std::string& dir, Done done) {
  worker_->ask({Worker::Kind::kSyncDir, 0, {}, dir, std::move(done)});
}

Result<size_t> OsDisk::read(const std::string& path, uint64_t offset, std::span<std::byte> into) {
  const Fd fd(retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (fd.get() < 0) return os_error(errno, path, "open");
  size_t filled = 0;
  while (filled < into.size()) {
    const ssize_t got = retry([&] {
      return ::pread(fd.get(), into.data() + filled, into.size() - filled, static_cast<off_t>(offset + filled));
    });
    if (got < 0) return os_error(errno, path, "read");
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  return filled;
}

Result<uint64_t> OsDisk::size(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return os_error(errno, path, "stat");
  return static_cast<uint64_t>(facts.st_size);
}

Result<std::vector<DirEntry>> OsDisk::list(const std::string& dir) {
  DIR* stream = ::opendir(dir.c_str());
  if (stream == nullptr) return os_error(errno, dir, "open");
  std::vector<DirEntry> entries;
  int error = 0;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(stream);
    if (entry == nullptr) {
      error = errno;
      break;
    }
    struct stat facts {};
    if (::fstatat(::dirfd(stream), entry->d_name, &facts, 0) != 0) {
      if (errno == ENOENT) continue;  // gone meanwhile, or a link to nothing
      // A link in a circle, or to where we may not look: who reads it gets the error, the others are listed.
      const int why = errno;
      if (::fstatat(::dirfd(stream), entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(facts.st_mode)) {
        entries.push_back({entry->d_name, 0, 0});
        continue;
      }
      errno = why;
      error = errno;
      break;
    }
    if (!S_ISREG(facts.st_mode)) continue;
    entries.push_back({entry->d_name, static_cast<uint64_t>(facts.st_size),
                       int64_t{facts.st_mtim.tv_sec} * 1000 + facts.st_mtim.tv_nsec / 1'000'000});
  }
  ::closedir(stream);
  // One that is left out would be taken for one that is lost.
  if (error != 0) return os_error(error, dir, "list");
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

Status OsDisk::make_dirs(const std::string& dir) {
  for (size_t slash = dir.find('/', 1);; slash = dir.find('/', slash + 1)) {
    const std::string part = dir.substr(0, slash);
    const bool made = ::mkdir(part.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return os_error(errno, part, "make folder");
    // A folder that a power cut removes again would take the synced files in it along.
    if (made) {
      if (auto status = sync_folder(folder_of(part)); !status) return status;
    }
    if (slash == std::string::npos) break;
  }
  struct stat facts {};
  if (::stat(dir.c_str(), &facts) != 0) return os_error(errno, dir, "stat");
  if (!S_ISDIR(facts.st_mode)) return fail(ErrorCode::kIo, dir + ": is no folder");
  return {};
}

Status OsDisk::remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return os_error(errno, path, "remove");
  return {};
}

Status OsDisk::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return os_error(errno, from, ("rename to " + to).c_str());
  return {};
}

Status OsDisk::truncate(const std::string& path, uint64_t bytes) {
  if (retry([&] { return ::truncate(path.c_str(), static_cast<off_t>(bytes)); }) != 0) {
    return os_error(errno, path, "truncate");
  }
  return {};
}

Status OsDisk::replace(const std::string& path, std::span<const std::byte> bytes) {
  // A device, /dev/null for one, would be gone for everybody.
  struct stat facts {};
  if (retry([&] { return ::stat(path.c_str(), &facts); }) == 0 && !S_ISREG(facts.st_mode)) {
    return fail(ErrorCode::kInvalid, path + ": not a file that can be replaced; nothing was written");
  }
  const std::string temporary = path + ".tmp";
  {
    const Fd fd(retry([&] { return ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); }));
    if (fd.get() < 0) return os_error(errno, temporary, "open");
    std::vector<iovec> pieces;
    if (!bytes.empty()) pieces.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
    Status status = write_all(fd.get(), temporary, pieces);
    if (status && retry([&] { return ::fsync(fd.get()); }) != 0) status = os_error(errno, temporary, "sync");
    if (!status) {
      ::unlink(temporary.c_str());
      return status;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return os_error(error, temporary, "rename");
  }
  return sync_folder(folder_of(path));
}

Result<std::shared_ptr<void>> OsDisk::lock(const std::string& path) {
  auto fd = std::make_shared<Fd>(retry([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); }));
  if (fd->get() < 0) return os_error(errno, path, "open");
  if (retry([&] { return ::flock(fd->get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno == EWOULDBLOCK) return fail(ErrorCode::kDenied, path + ": another process has it");
    return os_error(errno, path, "lock");
  }
  return std::shared_ptr<void>(std::move(fd));
}

Result<uint64_t> OsDisk::free_bytes(const std::string& dir) {
  struct statvfs facts {};
  if (retry([&] { return ::statvfs(dir.c_str(), &facts); }) != 0) return os_error(errno, dir, "statvfs");
  return uint64_t{facts.f_bavail} * facts.f_frsize;
}

}  // namespace lambda
