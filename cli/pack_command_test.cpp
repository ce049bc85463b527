// Series from CSV into files of blocks and back, bit for bit, and what is refused.
#include "cli/pack_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/os/disk.h"
#include "base/os/loop.h"
#include "cli/block_command.h"
#include "cli/points_csv.h"

namespace lambda::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Pack : public testing::Test {
 protected:
  Pack() : folder_(fs::path(testing::TempDir()) / ("lambda-pack-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~Pack() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }
  std::string csv(const std::string& text) {
    std::ofstream(path("in.csv"), std::ios::binary) << text;
    return path("in.csv");
  }
  int pack(const std::string& in, const std::string& type, bool seal) {
    return with_output([&](Output& output) {
      return block_pack(output, {.in = in, .out = path("out.blocks"), .type = type, .seal = seal}, disk_);
    });
  }
  int unpack() {
    return with_output([&](Output& output) { return block_unpack(output, path("out.blocks"), disk_); });
  }
  template <class Command>
  int with_output(Command command, bool as_json = false) {
    std::ostringstream out, err;
    Output output{out, err, as_json};
    const int status = command(output);
    out_ = out.str();
    err_ = err.str();
    return status;
  }
  // The points of a CSV text as (time, bits of the double).
  std::vector<std::pair<int64_t, uint64_t>> points(const std::string& text) {
    std::vector<std::pair<int64_t, uint64_t>> all;
    const auto rows = parse_points_csv("text", text);
    EXPECT_TRUE(rows) << rows.error().text;
    if (rows) {
      for (const CsvPoint& row : *rows) all.emplace_back(row.time_ms, row.f64);
    }
    return all;
  }
  void expect_back(const std::string& text, const std::string& type) {
    for (const bool seal : {false, true}) {
      SCOPED_TRACE(type + (seal ? " sealed" : ""));
      ASSERT_EQ(pack(csv(text), type, seal), kExitDone) << err_;
      ASSERT_EQ(unpack(), kExitDone) << err_;
      ASSERT_EQ(points(out_), points(text));
    }
  }

  fs::path folder_;
  OsLoop loop_;
  OsDisk disk_{loop_};
  std::string out_, err_;
};

TEST_F(Pack, EveryTypeGivesBackWhatItHolds) {
  expect_back("timestamp_ms,value\n1000,1\n2000,-7\n3000,9223372036854775807\n4000,0\n", "i64");
  expect_back("1000,1.25\n2000,-0.01\n3000,7\n2500,92233720368547758.07\n", "dec:2");
  expect_back("1000,0.1\n2000,3.4028235e+38\n3000,1e-45\n4000,-Inf\n5000,NaN\n6000,-0\n", "f32");
  expect_back("1000,0.1\n2000,1e308\n3000,5e-324\n4000,+Inf\n5000,NaN\n6000,-0\n7000,NaN(0xfff8000000000001)\n", "f64");
}

TEST_F(Pack, AStateTakesPerChange) {
  std::string text;
  for (int64_t i = 0; i < 600; ++i) text += std::to_string(i * 1'000) + (i < 200 ? ",1\n" : ",0\n");
  expect_back(text, "state");
  ASSERT_EQ(pack(csv(text), "state", false), kExitDone);
  with_output([&](Output& output) { return archive_stat(output, path("out.blocks"), disk_); }, true);
  const json facts = json::parse(out_);
  EXPECT_EQ(facts["type"], "state");
  EXPECT_EQ(facts["encodings"], json({{"runs64", 1}}));
  EXPECT_LT(facts["bytes"].get<int>(), 50);
}

TEST_F(Pack, FloatsMayBeWrittenShortOrAsTheDoublesTheyAre) {
  expect_back("1000,20.1\n2000,0.1\n", "f32");
  expect_back("1000,20.100000381469727\n2000,0.10000000149011612\n3000,NaN(0x7ff8000020000000)\n", "f32");
  EXPECT_EQ(pack(csv("1000,20.1\n2000,0.10000000149011612\n"), "f32", false), kExitFailed) << "not both in one file";
}

TEST_F(Pack, AutoKeepsEveryBitOfAnything) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    std::string text;
    int64_t time = static_cast<int64_t>(random() % 2'000'000'000'000);
    const uint64_t kind = random() % 5;
    const auto steps = static_cast<int64_t>(uint64_t{1} << random() % 40);
    double walk = 20;
    for (size_t i = 0, n = 1 + random() % 3000; i < n; ++i) {
      time += random() % 9 == 0 ? -static_cast<int64_t>(random() % 3) : steps;
      walk += static_cast<double>(random() % 21) / 10 - 1;
      const double value = kind == 0   ? std::bit_cast<double>(random())
                           : kind == 1 ? std::round(walk * 100) / 100
                           : kind == 2 ? static_cast<double>(i)
                           : kind == 3 ? static_cast<double>(random() % 7) / 7
                                       : static_cast<double>(static_cast<float>(walk));
      text += std::to_string(time) + "," + value_text(ValueType::kF64, 0, std::bit_cast<uint64_t>(value)) + "\n";
    }
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_back(text, "auto");
    if (HasFatalFailure()) return;
  }
}

TEST_F(Pack, AutoTakesTheTypeThatIsSmallest) {
  std::string whole, tenths;
  for (int i = 0; i < 600; ++i) {
    whole += std::to_string(i * 1000) + "," + std::to_string(500 + i % 7) + "\n";
    tenths += std::to_string(i * 1000) + "," + std::to_string(21 + i % 3) + "." + std::to_string(i % 10) + "\n";
  }
  const auto type_of = [&](const std::string& text) {
    EXPECT_EQ(pack(csv(text), "auto", false), kExitDone);
    with_output([&](Output& output) { return archive_stat(output, path("out.blocks"), disk_); }, true);
    return json::parse(out_)["type"].get<std::string>();
  };
  EXPECT_EQ(type_of(whole), "i64");
  EXPECT_EQ(type_of(tenths), "dec:1");
}

TEST_F(Pack, AutoKeepsTheDigitsOfIntegersThatAreNoDoubles) {
  for (const char* text : {"1000,9223372036854775807\n2000,-9223372036854775807\n", "1000,-9223372036854775808\n",
                           "1000,9007199254740993\n2000,9007199254740993\n", "1000,0.123456789012345678\n"}) {
    SCOPED_TRACE(text);
    for (const bool seal : {false, true}) {
      ASSERT_EQ(pack(csv(text), "auto", seal), kExitDone) << err_;
      EXPECT_EQ(out_.find("rounded"), std::string::npos) << out_;
      ASSERT_EQ(unpack(), kExitDone) << err_;
      EXPECT_EQ(out_, std::string("timestamp_ms,value\n") + text);
    }
  }
  expect_back("1000,-9223372036854775808\n2000,0\n", "i64");
  expect_back("1000,-92233720368547758.08\n", "dec:2");
}

TEST_F(Pack, WhatIsRoundedToAFloatIsCounted) {
  const auto rounded = [&](const std::string& text, const std::string& type) {
    const std::string in = csv(text);
    with_output(
        [&](Output& output) { return block_pack(output, {.in = in, .out = path("out.blocks"), .type = type}, disk_); },
        true);
    return json::parse(out_).value("rounded", 0);
  };
  EXPECT_EQ(rounded("1,9007199254740993\n2,NaN\n3,1\n", "auto"), 1);
  EXPECT_EQ(rounded("1,9007199254740993\n2,9007199254740992\n", "f64"), 1);
  EXPECT_EQ(rounded("1,1e400\n2,-1e400\n3,1e-400\n4,1e99999999999\n", "f64"), 4);
  EXPECT_EQ(rounded("1,123456789012345678901234567890\n", "auto"), 1);
  EXPECT_EQ(rounded("1,0.12345678901234567891\n2,0.5\n", "auto"), 1);
  // Doubles, however many of their digits are written.
  EXPECT_EQ(rounded("1,0.1\n2,0.10000000000000001\n3,0.1000000000000000055511151231257827\n4,5e-324\n5,1e22\n"
                    "6,Inf\n7,nan\n8,-0\n9,0.000\n10,4.9406564584124654e-324\n11,1.7976931348623157e+308\n",
                    "auto"),
            0);
}

TEST_F(Pack, AByteOrderMarkIsNoPartOfTheFirstLine) {
  for (const char* text : {"\xEF\xBB\xBFtimestamp_ms,value\r\n1,2\r\n",
                           "\xEF\xBB\xBF"
                           "1,2"}) {
    ASSERT_EQ(pack(csv(text), "auto", false), kExitDone) << err_;
    ASSERT_EQ(unpack(), kExitDone) << err_;
    EXPECT_EQ(out_, "timestamp_ms,value\n1,2\n");
  }
  EXPECT_EQ(pack(csv("1,2\n\xEF\xBB\xBF"
                     "3,4\n"),
                 "auto", false),
            kExitFailed);
}

TEST_F(Pack, WhatShowsOneBlockSaysWhoShowsMany) {
  ASSERT_EQ(pack(csv("1,2\n"), "auto", false), kExitDone);
  with_output([&](Output& output) { return block_cat(output, {.file = path("out.blocks")}, disk_); });
  EXPECT_NE(err_.find("out.blocks: a file of blocks, not one block: lambda block unpack prints it"), std::string::npos)
      << err_;
}

TEST_F(Pack, StatCountsWhatIsThere) {
  std::string text;
  for (int64_t i = 0; i < 5000; ++i) text += std::to_string(i * 1'800'000) + ",5\n";  // half an hour a point
  ASSERT_EQ(pack(csv(text), "f64", false), kExitDone);
  with_output([&](Output& output) { return archive_stat(output, path("out.blocks"), disk_); }, true);
  const json facts = json::parse(out_);
  EXPECT_EQ(facts["points"], 5000);
  EXPECT_EQ(facts["bytes"], fs::file_size(path("out.blocks")));
  EXPECT_NEAR(facts["bits_per_point"].get<double>(), 8.0 * facts["bytes"].get<double>() / 5000, 0.001);
  EXPECT_EQ(facts["encodings"], json({{"xor64", 5}}));
  EXPECT_LT(facts["bits_per_point"].get<double>(), 1.5) << "slow series cost no more than fast ones";
}

TEST_F(Pack, WhatDoesNotFitTheTypeIsRefusedByFileAndLine) {
  const auto refused = [&](const std::string& text, const std::string& type) {
    EXPECT_EQ(pack(csv(text), type, false), kExitFailed) << text;
    EXPECT_FALSE(fs::exists(path("out.blocks")));
    return err_;
  };
  EXPECT_NE(refused("timestamp_ms,value\n1,2\n2,2.5\n", "i64").find("in.csv:3: 2.5 is no value of type i64"),
            std::string::npos);
  EXPECT_NE(refused("1,2.555\n", "dec:2").find("in.csv:1: "), std::string::npos);
  EXPECT_NE(refused("1,0\n2,-0\n", "i64").find("in.csv:2: -0 "), std::string::npos);
  EXPECT_NE(refused("1,0.1234567890123\n", "f32").find("in.csv:1: "), std::string::npos);
  EXPECT_NE(refused("1,92233720368547758.08\n", "dec:2").find("in.csv:1: "), std::string::npos);
  EXPECT_NE(refused("1,NaN\n", "dec:0").find("in.csv:1: "), std::string::npos);
  EXPECT_NE(refused("1,1\n", "dec:19").find("--type dec:19"), std::string::npos);
  EXPECT_NE(refused("1,1\n", "string").find("--type string"), std::string::npos);
}

TEST_F(Pack, ItsOwnInputIsNotWrittenOver) {
  const std::string file = csv("1,1\n");
  fs::rename(file, path("out.blocks"));
  EXPECT_EQ(pack(path("out.blocks"), "auto", false), kExitFailed);
  EXPECT_NE(err_.find("is what would be packed"), std::string::npos) << err_;
  EXPECT_EQ(fs::file_size(path("out.blocks")), 4u);
}

TEST_F(Pack, LinesThatAreNoPointsAreRefusedByFileAndLine) {
  for (const char* line : {"x", "1", "1,", ",1", "1;2", "1,2,3", "1.5,2", "1,2x", "1,++2", "1, 2",
                           "9223372036854775808,1", "1,NaN(0x1)", "1,nan(12)"}) {
    SCOPED_TRACE(line);
    EXPECT_EQ(pack(csv(std::string("timestamp_ms,value\n1,1\n") + line + "\n"), "auto", false), kExitFailed);
    EXPECT_NE(err_.find("in.csv:3: not timestamp_ms,value"), std::string::npos) << err_;
  }
  EXPECT_EQ(pack(csv("timestamp_ms,value\n"), "auto", false), kExitFailed);
  EXPECT_EQ(pack(path("none.csv"), "auto", false), kExitFailed);
}

TEST_F(Pack, AFileThatIsCutOrAlteredIsRefusedAndNothingIsPrinted) {
  std::string text;
  for (int i = 0; i < 2500; ++i) text += std::to_string(i * 250) + "," + std::to_string(i * i % 1000) + "\n";
  ASSERT_EQ(pack(csv(text), "auto", true), kExitDone);
  std::ifstream in(path("out.blocks"), std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(path("out.blocks"), std::ios::binary | std::ios::trunc) << bytes;
    return unpack() == kExitFailed && out_.empty() && err_.find("out.blocks: ") != std::string::npos;
  };
  for (size_t size = 0; size < good.size(); size += 1 + size % 13) EXPECT_TRUE(refused(good.substr(0, size))) << size;
  for (size_t at = 0; at < good.size(); at += 7) {
    std::string altered = good;
    altered[at] = static_cast<char>(altered[at] ^ 1 << at % 8);
    EXPECT_TRUE(refused(altered)) << at;
  }
  EXPECT_TRUE(refused(good + "x"));
  EXPECT_FALSE(refused(good));
}

}  // namespace
}  // namespace lambda::cli
