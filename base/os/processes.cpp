#include "base/os/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace lambda {
namespace {

constexpr auto kTermPatience = std::chrono::seconds(1);

constexpr long kDescriptorsMax = 65'536;  // looked at one by one, where the kernel cannot close a range

// What the child must not do itself: between fork and exec only few calls are safe.
struct Start {
  std::vector<char*> arguments;  // ends with null
  pid_t parent = 0;
  int failure_fd = -1;
  int input_fd = -1;  // -1: it is not apart
  int null_fd = -1;
  long descriptors = 0;
};

// A library's socket without O_CLOEXEC would keep our port, or a peer's connection, for as long as the child lives.
void keep_descriptors_here(long descriptors) {
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  for (long fd = 3; fd < descriptors; ++fd) fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
}

void set_apart(const Start& start) {
  setsid();
  dup2(start.input_fd, STDIN_FILENO);
  dup2(start.null_fd, STDOUT_FILENO);
  dup2(start.null_fd, STDERR_FILENO);
  if (chdir("/") != 0) _exit(127);
}

// Runs between fork and exec: only calls that are safe there.
[[noreturn]] void become(const Start& start) {
  static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C.UTF-8";
  static char* const clean[] = {path, lang, nullptr};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != start.parent) _exit(127);  // the parent ended before prctl
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const bool apart = start.input_fd >= 0;
  if (apart) set_apart(start);
  keep_descriptors_here(start.descriptors);
  if (apart) {
    execve(start.arguments[0], start.arguments.data(), clean);
  } else {
    execvp(start.arguments[0], start.arguments.data());
  }
  const int reason = errno;
  [[maybe_unused]] const auto written = write(start.failure_fd, &reason, sizeof reason);
  _exit(127);
}

// The same descriptor, above those of standard input and output, which a child's replace.
int above_standard(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  close(fd);
  return above;
}

// A file without a name that holds `text`: whatever its length, nobody has to write while the child reads. -1: errno.
int file_of(std::string_view text) {
  const int fd = above_standard(memfd_create("input", MFD_CLOEXEC));
  for (size_t at = 0; fd >= 0 && at < text.size();) {
    const ssize_t count = write(fd, text.data() + at, text.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      close(fd);
      return -1;
    }
    at += static_cast<size_t>(count);
  }
  if (fd >= 0) lseek(fd, 0, SEEK_SET);
  return fd;
}

class OsChild final : public ChildProcess {
 public:
  OsChild(EventLoop& loop, pid_t pid, bool leads_group, std::function<void(int)> exited)
      : loop_(loop),
        pid_(pid),
        leads_group_(leads_group),
        exited_(std::make_shared<std::function<void(int)>>(std::move(exited))) {
    watcher_ = std::thread([this] { watch(); });
  }

  ~OsChild() override {
    *exited_ = nullptr;  // this runs on the loop thread, as the callback would
    signal(SIGTERM);
    {
      std::unique_lock lock(mutex_);
      // system_clock: a wait on the steady clock is unknown to older thread sanitizers.
      ended_.wait_until(lock, std::chrono::system_clock::now() + kTermPatience, [&] { return reaped_; });
    }
    signal(SIGKILL);
    watcher_.join();
  }

  int64_t pid() const override { return pid_; }

  void signal(int number) override {
    // Under the lock and before it is reaped the number cannot belong to another process.
    std::lock_guard lock(mutex_);
    if (!reaped_) kill(leads_group_ ? -pid_ : pid_, number);
  }

 private:
  void watch() {
    siginfo_t info{};
    while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    int status = 0;
    {
      std::lock_guard lock(mutex_);
      while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
      }
      reaped_ = true;
      ended_.notify_all();
    }
    const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    loop_.post([exited = exited_, code] {
      if (*exited) (*exited)(code);
    });
  }

  EventLoop& loop_;
  const pid_t pid_;
  const bool leads_group_;
  const std::shared_ptr<std::function<void(int)>> exited_;  // touched on the loop thread only
  std::mutex mutex_;
  std::condition_variable ended_;
  bool reaped_ = false;  // guarded by mutex_
  std::thread watcher_;
};

// Takes the descriptors of `start` that are open.
Result<std::unique_ptr<ChildProcess>> begin_child(EventLoop& loop, const std::vector<std::string>& arguments,
                                                  Start start, std::function<void(int)> exited) {
  const bool apart = start.input_fd >= 0;
  const auto close_given = [&start] {
    if (start.input_fd >= 0) close(start.input_fd);
    if (start.null_fd >= 0) close(start.null_fd);
  };
  for (const auto& argument : arguments) start.arguments.push_back(const_cast<char*>(argument.c_str()));
  start.arguments.push_back(nullptr);
  start.descriptors = std::min(sysconf(_SC_OPEN_MAX), kDescriptorsMax);

  int failure[2];  // closed by a good exec, or the reason of a bad one
  if (pipe2(failure, O_CLOEXEC) != 0) {
    close_given();
    return fail(ErrorCode::kUnavailable, arguments[0] + ": pipe: " + std::generic_category().message(errno));
  }
  start.parent = getpid();
  start.failure_fd = failure[1];
  const pid_t pid = fork();
  if (pid == 0) become(start);
  const int fork_errno = errno;
  close_given();
  close(failure[1]);
  if (pid < 0) {
    close(failure[0]);
    return fail(ErrorCode::kUnavailable, arguments[0] + ": fork: " + std::generic_category().message(fork_errno));
  }
  int reason = 0;
  ssize_t got = 0;
  do {
    got = read(failure[0], &reason, sizeof reason);
  } while (got < 0 && errno == EINTR);
  close(failure[0]);
  if (got == sizeof reason) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    const bool passes = reason == EAGAIN || reason == ENOMEM || reason == ETXTBSY;
    const auto code = reason == ENOENT ? ErrorCode::kNotFound : passes ? ErrorCode::kUnavailable : ErrorCode::kIo;
    return fail(code, arguments[0] + ": cannot be started: " + std::generic_category().message(reason));
  }
  return std::make_unique<OsChild>(loop, pid, apart, std::move(exited));
}

}  // namespace

Result<std::unique_ptr<ChildProcess>> OsProcesses::spawn(const std::vector<std::string>& arguments,
                                                         std::function<void(int)> exited) {
  LAMBDA_ASSERT(!arguments.empty());
  return begin_child(loop_, arguments, {}, std::move(exited));
}

Result<std::unique_ptr<ChildProcess>> OsProcesses::spawn_apart(const std::vector<std::string>& arguments,
                                                               std::string_view input,
                                                               std::function<void(int)> exited) {
  LAMBDA_ASSERT(!arguments.empty());
  Start start;
  start.input_fd = file_of(input);
  if (start.input_fd >= 0) start.null_fd = above_standard(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (start.null_fd < 0) {
    const int reason = errno;
    if (start.input_fd >= 0) close(start.input_fd);
    return fail(ErrorCode::kUnavailable, arguments[0] + ": its input: " + std::generic_category().message(reason));
  }
  return begin_child(loop_, arguments, std::move(start), std::move(exited));
}

}  // namespace lambda
