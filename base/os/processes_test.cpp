#include "base/os/processes.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os/random.h"
#include "base/test_support.h"

namespace lambda {
namespace {

class ProcessesTest : public ::testing::Test {
 protected:
  OsLoop loop_;
  OsProcesses processes_{loop_};
  std::optional<int> code_;

  Result<std::unique_ptr<ChildProcess>> shell(const std::string& script) {
    return processes_.spawn({"/bin/sh", "-c", script}, [this](int code) { code_ = code; });
  }
};

bool gone(int64_t pid) {
  return kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
}

// Gone, or dead and not collected.
bool ended(int64_t pid) {
  if (gone(pid)) return true;
  char path[64], state = '?';
  std::snprintf(path, sizeof path, "/proc/%lld/stat", static_cast<long long>(pid));
  if (FILE* file = std::fopen(path, "r")) {
    if (std::fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = '?';
    std::fclose(file);
  }
  return state == 'Z' || state == 'X';
}

TEST_F(ProcessesTest, TellsTheExitStatus) {
  const auto child = shell("exit 7");
  ASSERT_TRUE(child);
  ASSERT_TRUE(run_until(loop_, [&] { return code_.has_value(); }));
  EXPECT_EQ(*code_, 7);
}

TEST_F(ProcessesTest, TellsTheSignalThatEndedIt) {
  const auto child = shell("exec sleep 1000");
  ASSERT_TRUE(child);
  (*child)->signal(SIGKILL);
  ASSERT_TRUE(run_until(loop_, [&] { return code_.has_value(); }));
  EXPECT_EQ(*code_, 128 + SIGKILL);
  (*child)->signal(SIGTERM);  // of a process that is gone: nothing
}

TEST_F(ProcessesTest, SaysWhatCannotBeStarted) {
  const auto child = processes_.spawn({"/no/such/program"}, [](int) {});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, ErrorCode::kNotFound);
  EXPECT_NE(child.error().text.find("/no/such/program"), std::string::npos);
  EXPECT_FALSE(processes_.spawn({"/etc/passwd"}, [](int) {}));
}

TEST_F(ProcessesTest, TheDestructorEndsItAndNoCallbackFollows) {
  auto child = shell("exec sleep 1000");
  ASSERT_TRUE(child);
  const int64_t pid = (*child)->pid();
  child->reset();
  EXPECT_TRUE(gone(pid));
  bool passed = false;
  loop_.after(20, [&] { passed = true; });
  ASSERT_TRUE(run_until(loop_, [&] { return passed; }));
  EXPECT_FALSE(code_.has_value());
}

TEST_F(ProcessesTest, TheDestructorEndsOneThatIgnoresSigterm) {
  // The pipe says when the trap is set; ending it before would prove nothing.
  const std::string flag = ::testing::TempDir() + "lambda-trap-" + std::to_string(getpid());
  auto child = shell("trap '' TERM; touch " + flag + "; while :; do sleep 0.05; done");
  ASSERT_TRUE(child);
  const int64_t pid = (*child)->pid();
  ASSERT_TRUE(run_until(loop_, [&] { return access(flag.c_str(), F_OK) == 0; }));
  unlink(flag.c_str());
  child->reset();
  EXPECT_TRUE(gone(pid));
}

TEST_F(ProcessesTest, ChildrenStartWithNoSignalBlocked) {
  // The loop has blocked SIGTERM in this thread; a child that inherited that could not be asked to end.
  const auto child = shell("kill -TERM $$; exit 3");
  ASSERT_TRUE(child);
  ASSERT_TRUE(run_until(loop_, [&] { return code_.has_value(); }));
  EXPECT_EQ(*code_, 128 + SIGTERM);
}

TEST_F(ProcessesTest, AChildDiesWithAParentThatIsKilled) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t parent = fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    OsLoop loop;
    OsProcesses processes(loop);
    auto child = processes.spawn({"/bin/sleep", "1000"}, [](int) {});
    const int64_t pid = child ? (*child)->pid() : 0;
    [[maybe_unused]] auto n = write(pipe_fds[1], &pid, sizeof pid);
    kill(getpid(), SIGKILL);
  }
  int64_t pid = 0;
  ASSERT_EQ(read(pipe_fds[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  ASSERT_GT(pid, 0);
  waitpid(parent, nullptr, 0);
  // Orphaned it becomes another's zombie.
  EXPECT_TRUE(run_until(loop_, [&] { return ended(pid); }));
}

TEST_F(ProcessesTest, ChildrenInheritNoDescriptorOfOurs) {
  // As a library opens its sockets: nobody asked for close-on-exec.
  const int leaked = dup2(STDERR_FILENO, 77);
  ASSERT_EQ(leaked, 77);
  const auto child = shell("test -e /proc/self/fd/77 && exit 3; test -e /proc/self/fd/2 && exit 4");
  ASSERT_TRUE(child);
  ASSERT_TRUE(run_until(loop_, [&] { return code_.has_value(); }));
  close(leaked);
  EXPECT_EQ(*code_, 4) << "3: it has the descriptor";
}

TEST_F(ProcessesTest, AChildThatIsApartReadsItsInputAndSeesNothingOfOurs) {
  setenv("LAMBDA_TEST_SECRET", "token", 1);
  const int leaked = dup2(STDERR_FILENO, 78);
  std::string input(300'000, 'x');  // longer than a pipe, and than an argument may be
  input += "; $(exit 9)";
  const auto child = processes_.spawn_apart(
      {"/bin/sh", "-c",
       "test -e /proc/self/fd/78 && exit 3; test -n \"$LAMBDA_TEST_SECRET\" && exit 4; test \"$PWD\" = / || exit 5\n"
       "readlink /proc/$$/fd/1 | grep -qx /dev/null || exit 6; test \"$(wc -c)\" -eq \"$1\" || exit 7; exit 42",
       "sh", std::to_string(input.size())},
      input, [this](int code) { code_ = code; });
  ASSERT_TRUE(child) << child.error().text;
  ASSERT_TRUE(run_until(loop_, [&] { return code_.has_value(); }));
  close(leaked);
  unsetenv("LAMBDA_TEST_SECRET");
  EXPECT_EQ(*code_, 42) << "6: output goes somewhere";
}

TEST_F(ProcessesTest, ASignalReachesWhateverAChildThatIsApartHasStarted) {
  const std::string file = ::testing::TempDir() + "lambda-group-" + std::to_string(getpid());
  const auto child =
      processes_.spawn_apart({"/bin/sh", "-c", "sleep 1000 & echo $! > $0.new; mv $0.new $0; wait", file}, "",
                             [this](int code) { code_ = code; });
  ASSERT_TRUE(child) << child.error().text;
  ASSERT_TRUE(run_until(loop_, [&] { return access(file.c_str(), F_OK) == 0; }));
  FILE* read = std::fopen(file.c_str(), "r");
  ASSERT_NE(read, nullptr);
  int grandchild = 0;
  ASSERT_EQ(std::fscanf(read, "%d", &grandchild), 1);
  std::fclose(read);
  unlink(file.c_str());
  (*child)->signal(SIGKILL);
  ASSERT_TRUE(run_until(loop_, [&] { return code_.has_value(); }));
  EXPECT_EQ(*code_, 128 + SIGKILL);
  // An orphan: whoever adopts it may leave it as a zombie.
  EXPECT_TRUE(run_until(loop_, [&] { return ended(grandchild); }));
}

TEST(OsRandom, FillsAllOfItAndDiffers) {
  OsRandom random;
  std::array<std::byte, 1000> a{}, b{};
  random.fill(a);
  random.fill(b);
  EXPECT_NE(a, b);
  size_t zeros = 0;
  for (const auto byte : a) zeros += byte == std::byte{0};
  EXPECT_LT(zeros, 50u);
  EXPECT_EQ(random.below(0), 0u);
  EXPECT_EQ(random.below(1), 0u);
}

}  // namespace
}  // namespace lambda
