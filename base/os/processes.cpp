#include "base/os/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

// Runs between fork and exec: only calls that are safe there.
[[noreturn]] void become(char* const* arguments, pid_t parent, int failure_fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // the parent ended before prctl
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(arguments[0], arguments);
  const int reason = errno;
  [[maybe_unused]] const auto written = write(failure_fd, &reason, sizeof reason);
  _exit(127);
}

class OsChild final : public ChildProcess {
 public:
  OsChild(EventLoop& loop, pid_t pid, std::function<void(int)> exited)
      : loop_(loop), pid_(pid), exited_(std::make_shared<std::function<void(int)>>(std::move(exited))) {
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
    if (!reaped_) kill(pid_, number);
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
  const std::shared_ptr<std::function<void(int)>> exited_;  // touched on the loop thread only
  std::mutex mutex_;
  std::condition_variable ended_;
  bool reaped_ = false;  // guarded by mutex_
  std::thread watcher_;
};

}  // namespace

Result<std::unique_ptr<ChildProcess>> OsProcesses::spawn(const std::vector<std::string>& arguments,
                                                         std::function<void(int)> exited) {
  LAMBDA_ASSERT(!arguments.empty());
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  int failure[2];  // closed by a good exec, or the reason of a bad one
  if (pipe2(failure, O_CLOEXEC) != 0) {
    return fail(ErrorCode::kIo, arguments[0] + ": pipe: " + std::generic_category().message(errno));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) become(argv.data(), parent, failure[1]);
  const int fork_errno = errno;
  close(failure[1]);
  if (pid < 0) {
    close(failure[0]);
    return fail(ErrorCode::kIo, arguments[0] + ": fork: " + std::generic_category().message(fork_errno));
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
    const auto code = reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return fail(code, arguments[0] + ": cannot be started: " + std::generic_category().message(reason));
  }
  return std::make_unique<OsChild>(loop_, pid, std::move(exited));
}

}  // namespace lambda
