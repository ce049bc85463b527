#include "base/os/disk.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/test_support.h"

namespace lambda {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class OsDiskTest : public ::testing::Test {
 protected:
  Disk::Done note() {
    const size_t index = outcomes_.size();
    outcomes_.push_back({});
    return [this, index](Status status) {
      outcomes_[index] = status;
      order_.push_back(index);
    };
  }
  bool wait() {
    return run_until(loop_, [&] { return order_.size() == outcomes_.size(); });
  }
  std::string content(const std::string& path) {
    auto text = disk_.read_all(path, 64u << 20);
    return text ? *text : "(" + text.error().text + ")";
  }

  TestFolder folder_;
  OsLoop loop_;
  OsDisk disk_{loop_};
  std::vector<Status> outcomes_;
  std::vector<size_t> order_;
};

TEST_F(OsDiskTest, AppendsInOrderAndCallsBackFromTheLoopInOrder) {
  const std::string path = folder_ / "file";
  const auto file = disk_.open_append(path);
  ASSERT_TRUE(file);
  std::vector<std::string> pieces;
  std::string expected;
  for (int i = 0; i < 5000; ++i) pieces.push_back(std::to_string(i) + ",");
  for (const auto& piece : pieces) {
    disk_.append(*file, bytes_of(piece), note());
    expected += piece;
    if (expected.size() % 7 == 0) disk_.sync(*file, note());
  }
  disk_.append(*file, {}, note());
  disk_.sync(*file, note());
  disk_.sync_dir(folder_.path(), note());
  EXPECT_TRUE(order_.empty());  // never inside the call
  ASSERT_TRUE(wait());
  for (size_t i = 0; i < outcomes_.size(); ++i) {
    EXPECT_TRUE(outcomes_[i]);
    EXPECT_EQ(order_[i], i);
  }
  EXPECT_EQ(content(path), expected);
}

TEST_F(OsDiskTest, AppendsToAnExistingFileAndToOneThatWasTruncated) {
  const std::string path = folder_ / "file";
  std::ofstream(path) << "old";
  const auto file = disk_.open_append(path);
  ASSERT_TRUE(file);
  disk_.append(*file, bytes_of("+new"), note());
  ASSERT_TRUE(wait());
  EXPECT_EQ(content(path), "old+new");
  ASSERT_TRUE(disk_.truncate(path, 2));
  disk_.append(*file, bytes_of("!"), note());
  ASSERT_TRUE(wait());
  EXPECT_EQ(content(path), "ol!");
}

TEST_F(OsDiskTest, CloseComesAfterWhatWasAskedBefore) {
  const std::string path = folder_ / "file";
  const auto file = disk_.open_append(path);
  ASSERT_TRUE(file);
  disk_.append(*file, bytes_of("all"), note());
  disk_.close(*file);
  disk_.append(*file, bytes_of("late"), note());
  ASSERT_TRUE(wait());
  EXPECT_TRUE(outcomes_[0]);
  ASSERT_FALSE(outcomes_[1]);
  EXPECT_EQ(outcomes_[1].error().code, ErrorCode::kInvalid);
  EXPECT_EQ(content(path), "all");
}

TEST_F(OsDiskTest, TheDestructorWritesWhatWasAskedFor) {
  const std::string path = folder_ / "file";
  const std::string big(3u << 20, 'b');
  {
    OsDisk disk(loop_);
    const auto file = disk.open_append(path);
    ASSERT_TRUE(file);
    for (int i = 0; i < 10; ++i) disk.append(*file, bytes_of(big), [](Status) {});
  }
  EXPECT_EQ(*disk_.size(path), big.size() * 10);
}

TEST_F(OsDiskTest, AFileThatMayNotGrowIsFullAndTakesNothingMore) {
  // RLIMIT_FSIZE stands for a full disk here: it needs no rights and hits in the middle of a write.
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{10'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string path = folder_ / "file";
  const auto file = disk_.open_append(path);
  ASSERT_TRUE(file);
  const std::string piece(6'000, 'p');
  disk_.append(*file, bytes_of(piece), note());
  ASSERT_TRUE(wait());
  disk_.append(*file, bytes_of(piece), note());
  disk_.sync(*file, note());
  disk_.append(*file, bytes_of("x"), note());
  const bool waited = wait();
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_TRUE(waited);
  EXPECT_TRUE(outcomes_[0]);
  for (size_t i = 1; i < 4; ++i) {
    ASSERT_FALSE(outcomes_[i]) << i;
    EXPECT_EQ(outcomes_[i].error().code, ErrorCode::kFull);
    EXPECT_NE(outcomes_[i].error().text.find(path), std::string::npos) << outcomes_[i].error().text;
  }
  // And after the repair that the contract names it goes on.
  disk_.close(*file);
  ASSERT_TRUE(disk_.truncate(path, 6'000));
  const auto again = disk_.open_append(path);
  ASSERT_TRUE(again);
  disk_.append(*again, bytes_of("more"), note());
  ASSERT_TRUE(wait());
  EXPECT_EQ(*disk_.size(path), 6'004u);
}

TEST_F(OsDiskTest, AFullFileSystemIsFull) {
  const std::string mount_point = folder_ / "small";
  ASSERT_TRUE(disk_.make_dirs(mount_point));
  if (mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "no right to mount a small tmpfs here: a full file system is NOT tested";
  }
  const auto file = disk_.open_append(mount_point + "/file");
  ASSERT_TRUE(file);
  const auto free = disk_.free_bytes(mount_point);
  const std::string big(400u << 10, 'f');
  disk_.append(*file, bytes_of(big), note());
  const bool waited = wait();
  const auto replaced = disk_.replace(mount_point + "/other", bytes_of(big));
  const auto left = disk_.size(mount_point + "/other.tmp");
  disk_.close(*file);
  disk_.sync_dir(mount_point, note());
  wait();
  EXPECT_EQ(umount(mount_point.c_str()), 0);
  ASSERT_TRUE(waited);
  ASSERT_TRUE(free);
  EXPECT_LE(*free, 256u << 10);
  ASSERT_FALSE(outcomes_[0]);
  EXPECT_EQ(outcomes_[0].error().code, ErrorCode::kFull);
  ASSERT_FALSE(replaced);
  EXPECT_EQ(replaced.error().code, ErrorCode::kFull);
  EXPECT_FALSE(left);  // the half-written temporary file is gone
}

TEST_F(OsDiskTest, PastItsBoundItRefusesAndLetsNothingCloseOverTheHole) {
  OsDisk disk(loop_, {100, 1000});
  const std::string path = folder_ / "file";
  const auto file = disk.open_append(path);
  ASSERT_TRUE(file);
  const std::string big(101, 'b');
  disk.append(*file, bytes_of("good"), note());
  disk.append(*file, bytes_of(big), note());
  disk.append(*file, bytes_of("small"), note());
  disk.sync(*file, note());
  ASSERT_TRUE(wait());
  EXPECT_TRUE(outcomes_[0]);
  for (size_t i = 1; i < 4; ++i) {
    ASSERT_FALSE(outcomes_[i]) << i;
    EXPECT_EQ(outcomes_[i].error().code, ErrorCode::kFull);
  }
  EXPECT_EQ(content(path), "good");
  EXPECT_EQ(disk.refused_count(), 3u);
}

TEST_F(OsDiskTest, ReplaceLeavesOldOrNewAndNoTemporaryFile) {
  const std::string path = folder_ / "state";
  ASSERT_TRUE(disk_.replace(path, bytes_of("one")));
  EXPECT_EQ(content(path), "one");
  ASSERT_TRUE(disk_.replace(path, bytes_of("two, longer")));
  EXPECT_EQ(content(path), "two, longer");
  ASSERT_TRUE(disk_.replace(path, {}));
  EXPECT_EQ(content(path), "");
  EXPECT_EQ(disk_.list(folder_.path())->size(), 1u);
  EXPECT_FALSE(disk_.replace(folder_ / "no/such/folder", bytes_of("x")));
}

TEST_F(OsDiskTest, ReplaceLeavesWhatIsNoFileAsItIs) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("pipe", (folder_ / "link").c_str()), 0);
  ASSERT_TRUE(disk_.make_dirs(folder_ / "folder"));
  for (const char* name : {"pipe", "link", "folder"}) {
    SCOPED_TRACE(name);
    const auto replaced = disk_.replace(folder_ / name, bytes_of("x"));
    ASSERT_FALSE(replaced);
    EXPECT_EQ(replaced.error().code, ErrorCode::kInvalid) << replaced.error().text;
    EXPECT_NE(replaced.error().text.find(std::string("/") + name + ": "), std::string::npos) << replaced.error().text;
    EXPECT_FALSE(disk_.size(folder_ / (std::string(name) + ".tmp")));
  }
  struct stat facts {};
  ASSERT_EQ(::lstat((folder_ / "pipe").c_str(), &facts), 0);
  EXPECT_TRUE(S_ISFIFO(facts.st_mode));
  ASSERT_EQ(::lstat((folder_ / "link").c_str(), &facts), 0);
  EXPECT_TRUE(S_ISLNK(facts.st_mode));
}

TEST_F(OsDiskTest, AFileThatCannotBeLookedAtIsNotLeftOutOfAListInSilence) {
  ASSERT_TRUE(disk_.replace(folder_ / "one", bytes_of("1")));
  ASSERT_EQ(::symlink("nothing", (folder_ / "a_link_to_nothing").c_str()), 0);
  EXPECT_EQ(disk_.list(folder_.path())->size(), 1u);
  ASSERT_EQ(::symlink("circle", (folder_ / "circle").c_str()), 0);
  const auto entries = disk_.list(folder_.path());
  ASSERT_TRUE(entries.has_value()) << entries.error().text;
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].name, "circle");
  const auto read = disk_.read_all(folder_ / "circle", 10);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code, ErrorCode::kIo) << read.error().text;
}

TEST_F(OsDiskTest, ListsFilesByNameAndSaysWhatIsNotThere) {
  ASSERT_TRUE(disk_.make_dirs(folder_ / "a/b/c"));
  ASSERT_TRUE(disk_.make_dirs(folder_ / "a/b/c"));
  std::ofstream(folder_ / "a/b/two") << "22";
  std::ofstream(folder_ / "a/b/one") << "1";
  const auto entries = disk_.list(folder_ / "a/b");
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);  // the folder c is none
  EXPECT_EQ((*entries)[0].name, "one");
  EXPECT_EQ((*entries)[1].bytes, 2u);
  EXPECT_GT((*entries)[1].modified_ms, 1'600'000'000'000);

  EXPECT_EQ(disk_.size(folder_ / "none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(disk_.remove(folder_ / "none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(disk_.list(folder_ / "none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(disk_.open_append(folder_ / "no/file").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(disk_.make_dirs(folder_ / "a/b/one").error().code, ErrorCode::kIo);
  ASSERT_TRUE(disk_.rename(folder_ / "a/b/one", folder_ / "a/b/three"));
  ASSERT_TRUE(disk_.remove(folder_ / "a/b/two"));
  EXPECT_EQ(disk_.list(folder_ / "a/b")->front().name, "three");
}

TEST_F(OsDiskTest, ReadsPiecesAndTheEnd) {
  const std::string path = folder_ / "file";
  std::ofstream(path) << "0123456789";
  std::byte into[6];
  EXPECT_EQ(*disk_.read(path, 2, into), 6u);
  EXPECT_EQ(static_cast<char>(into[0]), '2');
  EXPECT_EQ(*disk_.read(path, 8, into), 2u);
  EXPECT_EQ(*disk_.read(path, 10, into), 0u);
  EXPECT_EQ(*disk_.read(path, 99, into), 0u);
  EXPECT_EQ(disk_.read_all(path, 9).error().code, ErrorCode::kFull);
  EXPECT_EQ(*disk_.read_all(path, 10), "0123456789");
  EXPECT_EQ(disk_.read_all(folder_ / "none", 10).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace lambda
