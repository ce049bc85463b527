#include "base/os/host_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace lambda {
namespace {

class HostFilesTest : public ::testing::Test {
 protected:
  HostFilesTest() {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("host_files_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~HostFilesTest() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    const auto path = folder_ / name;
    const auto fresh = folder_ / (name + ".new");
    std::ofstream(fresh, std::ios::binary) << text;
    std::filesystem::rename(fresh, path);
    return path.string();
  }
  std::filesystem::path folder_;
  std::unique_ptr<HostFiles> files_ = make_host_files();
};

TEST_F(HostFilesTest, ReadsKernelFilesThatClaimToBeEmptyAgainAndAgain) {
  for (int i = 0; i < 3; ++i) {
    const auto stat = files_->read("/proc/stat");
    ASSERT_TRUE(stat.has_value());
    EXPECT_EQ(stat->substr(0, 4), "cpu ");
    EXPECT_EQ(stat->back(), '\n');
    EXPECT_NE(stat->find("\nprocs_blocked "), std::string_view::npos);
  }
}

TEST_F(HostFilesTest, SeesAPlainFileThatWasReplaced) {
  const std::string path = write("a", "one");
  ASSERT_EQ(files_->read(path).value(), "one");
  write("a", "two, longer");
  EXPECT_EQ(files_->read(path).value(), "two, longer");
}

TEST_F(HostFilesTest, ReadsLongFilesWholeUpToTheBound) {
  const std::string most(kHostFileBytesMax - 1, 'x');
  EXPECT_EQ(files_->read(write("a", most)).value().size(), most.size());
  const auto longer = files_->read(write("b", std::string(kHostFileBytesMax + 1, 'x')));
  ASSERT_FALSE(longer.has_value());
  EXPECT_EQ(longer.error().code, ErrorCode::kFull);
}

TEST_F(HostFilesTest, NamesAMissingFileAndReadsOthersAfterwards) {
  const auto missing = files_->read((folder_ / "none").string());
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().text.find("/none: "), std::string::npos);
  EXPECT_EQ(files_->read(write("a", "")).value(), "");
}

TEST_F(HostFilesTest, TellsTheFillOfAFileSystemDirectlyAndByAThread) {
  const auto direct = files_->usage(folder_.string(), false);
  ASSERT_TRUE(direct.has_value());
  EXPECT_GT(direct->bytes, 0u);
  EXPECT_LE(direct->bytes_available, direct->bytes);
  const auto space = std::filesystem::space(folder_);
  EXPECT_EQ(direct->bytes, space.capacity);
  const auto missing = files_->usage((folder_ / "none").string(), true);
  ASSERT_FALSE(missing.has_value());
  EXPECT_TRUE(missing.error().code == ErrorCode::kNotFound || missing.error().code == ErrorCode::kUnavailable);
}

TEST_F(HostFilesTest, AFileThatIsReadOnceIsNotKeptOpen) {
  ASSERT_TRUE(files_->read_once("/proc/self/status").has_value());
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    EXPECT_EQ(std::filesystem::read_symlink(entry.path(), error).string().find("/status"), std::string::npos);
  }
}

TEST_F(HostFilesTest, ListsAFolderAndSaysWhatIsNone) {
  write("b", "");
  write("a", "");
  std::vector<std::string> names = {"old", "older", "oldest"};
  ASSERT_TRUE(files_->list(folder_.string(), names).has_value());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b"}));
  const auto missing = files_->list((folder_ / "none").string(), names);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  const auto file = files_->list((folder_ / "a").string(), names);
  ASSERT_FALSE(file.has_value());
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
}

TEST_F(HostFilesTest, FollowsLinksToTheirEnd) {
  const std::string path = write("a", "");
  std::filesystem::create_symlink(path, folder_ / "link");
  EXPECT_EQ(files_->resolve((folder_ / "link").string()).value(), std::filesystem::canonical(path).string());
  EXPECT_EQ(files_->resolve((folder_ / "none").string()).error().code, ErrorCode::kNotFound);
}

TEST_F(HostFilesTest, TellsTheStateOfTheClock) {
  const auto clock = files_->clock_discipline();
  ASSERT_TRUE(clock.has_value()) << clock.error().text;
  EXPECT_GT(clock->tick_us, 0);
  EXPECT_GE(clock->error_max_us, 0);
}

TEST_F(HostFilesTest, KeepsNoMoreThanItsBoundOfFilesOpen) {
  // More kernel files than are kept open: each thread of the machine has its own.
  size_t read = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (files_->read(entry.path().string() + "/stat").has_value()) ++read;
  }
  size_t open = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.rfind("/proc/", 0) == 0 && target.size() > 5 && target.substr(target.size() - 5) == "/stat") ++open;
  }
  EXPECT_GT(read, 0u);
  EXPECT_LE(open, kHostFilesOpenMax);
}

}  // namespace
}  // namespace lambda
