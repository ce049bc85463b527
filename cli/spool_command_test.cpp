#include "cli/spool_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/os/disk.h"
#include "base/os/loop.h"
#include "base/record/record.h"
#include "proto/store.pb.h"

namespace lambda::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class SpoolCommand : public testing::Test {
 protected:
  SpoolCommand() {
    std::string made = testing::TempDir() + "/lambda_spool_XXXXXX";
    options.directory = ::mkdtemp(made.data());
    spool_ = start(FileKind::kSpool, 1);
  }
  ~SpoolCommand() override { fs::remove_all(options.directory); }

  static std::vector<std::byte> start(FileKind kind, uint64_t number) {
    std::vector<std::byte> bytes;
    append_file_header(bytes, {kind, number, 1'700'000'000'000, 0});
    return bytes;
  }
  template <class Message>
  static void add(std::vector<std::byte>& file, uint8_t type, const Message& message) {
    const std::string body = message.SerializeAsString();
    append_record(file, type, std::as_bytes(std::span(body)));
  }
  void add_parcel(uint64_t seq, uint64_t points) {
    v1::Parcel parcel;
    parcel.set_boot(0xB007);
    parcel.set_seq(seq);
    parcel.add_blocks("x");
    v1::SpooledParcel spooled;
    spooled.set_parcel(parcel.SerializeAsString());
    spooled.set_points(points);
    add(spool_, 33, spooled);
  }
  void add_settled(uint64_t first, uint64_t last) {
    v1::Settled settled;
    settled.set_boot(0xB007);
    auto* range = settled.add_seqs();
    range->set_first(first);
    range->set_last(last);
    add(spool_, 34, settled);
  }
  void write(const std::string& name, const std::vector<std::byte>& bytes) {
    std::ofstream(options.directory + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  json check(int status) {
    out.str("");
    EXPECT_EQ(spool_check(output, options, disk_), status) << out.str();
    return json::parse(out.str());
  }

  std::ostringstream out, err;
  Output output{out, err, true};
  SpoolOptions options;
  std::vector<std::byte> spool_;
  OsLoop loop_;
  OsDisk disk_{loop_};
};

TEST_F(SpoolCommand, CountsParcelsAndWhatNoGatewayHasYet) {
  v1::Checkpoint checkpoint;
  auto* boot = checkpoint.add_boots();
  boot->set_boot(0xB007);
  boot->set_floor_seq(2);  // parcel 1 is settled
  add(spool_, 32, checkpoint);
  for (uint64_t seq = 1; seq <= 5; ++seq) {
    add_parcel(seq, 100 * seq);
  }
  add_settled(3, 4);
  write(numbered_name("spool-", 1), spool_);
  std::vector<std::byte> journal = start(FileKind::kJournal, 1);
  append_record(journal, 18, {});
  write(numbered_name("journal-", 1), journal);

  const json facts = check(kExitDone);
  EXPECT_EQ(facts["files"], 2);
  EXPECT_EQ(facts["parcels"], 5);
  EXPECT_EQ(facts["points"], 1'500);
  EXPECT_EQ(facts["unsettled_parcels"], 2);
  EXPECT_EQ(facts["unsettled_points"], 700);
  EXPECT_EQ(facts["journal_rows"], 1);

  out.str("");
  options.unsettled = true;
  output.json = false;
  EXPECT_EQ(spool_dump(output, options, disk_), kExitDone);
  std::istringstream lines(out.str());
  std::string head, first, second, none;
  std::getline(lines, head);
  std::getline(lines, first);
  std::getline(lines, second);
  EXPECT_EQ(head, "file,offset,boot,seq,created_ms,blocks,points,gaps,bytes,settled");
  EXPECT_NE(first.find(",000000000000b007,2,0,1,200,0,"), std::string::npos) << first;
  EXPECT_NE(second.find(",000000000000b007,5,0,1,500,0,"), std::string::npos) << second;
  EXPECT_FALSE(std::getline(lines, none));
}

TEST_F(SpoolCommand, NamesDamageByFileAndOffsetButNotATornEndOfTheNewestFile) {
  add_parcel(1, 10);
  const size_t second_at = spool_.size();
  add_parcel(2, 20);
  const size_t end = spool_.size();
  add_parcel(3, 30);
  std::vector<std::byte> torn = spool_;
  torn.resize(end + 20);
  write(numbered_name("spool-", 1), torn);
  const json facts = check(kExitDone);
  EXPECT_EQ(facts["torn_tails"], 1);
  EXPECT_EQ(facts["parcels"], 2);

  write(numbered_name("spool-", 2), start(FileKind::kSpool, 2));  // now it is not the newest
  EXPECT_EQ(check(kExitFailed)["damage_count"], 1);

  std::vector<std::byte> flipped = spool_;
  flipped[second_at + kRecordHeadBytes + 2] ^= std::byte{1};
  write(numbered_name("spool-", 1), flipped);
  const json damaged = check(kExitFailed);
  EXPECT_EQ(damaged["damage"][0]["offset"], second_at);
  EXPECT_EQ(damaged["damage"][0]["file"], numbered_name("spool-", 1));
  EXPECT_EQ(damaged["parcels"], 2);

  write(numbered_name("spool-", 1), std::vector<std::byte>(100));
  EXPECT_EQ(check(kExitFailed)["damage_count"], 1);
}

TEST_F(SpoolCommand, DoesNotTakeAnyDirectoryForASpool) {
  EXPECT_EQ(spool_check(output, options, disk_), kExitFailed);
  EXPECT_EQ(spool_dump(output, options, disk_), kExitFailed);
}

}  // namespace
}  // namespace lambda::cli
