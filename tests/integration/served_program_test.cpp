// SPDX-License-Identifier: Apache-2.0
//
// The program resmgrd as it is called.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "tests/integration/served_support.hpp"

namespace hal::test {
namespace {

struct Outcome {
  int status = -1;
  std::string output;
};

Outcome run(const std::string& arguments) {
  const std::string command = std::string(std::getenv("RESMGRD")) + " " + arguments;
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (!pipe) return {};
  Outcome outcome;
  std::array<char, 4096> part{};
  while (const std::size_t bytes = std::fread(part.data(), 1, part.size(), pipe)) {
    outcome.output.append(part.data(), bytes);
  }
  outcome.status = WEXITSTATUS(::pclose(pipe));
  return outcome;
}

std::set<std::string> options_in(const std::string& text, const std::regex& pattern) {
  std::set<std::string> options;
  for (std::sregex_iterator each(text.begin(), text.end(), pattern), end; each != end; ++each) {
    options.insert((*each)[1]);
  }
  return options;
}

TEST(ResmgrdProgram, ItsHelpAndItsManualPageNameTheSameOptions) {
  std::ifstream file(std::getenv("RESMGRD_MANUAL"));
  const std::string manual{std::istreambuf_iterator<char>(file), {}};
  const auto helped = options_in(run("--help").output, std::regex("--([a-z]+)"));
  EXPECT_TRUE(helped.contains("socket"));
  EXPECT_EQ(helped, options_in(manual, std::regex("Fl Fl ([a-z]+)")));
}

TEST(ResmgrdProgram, ChecksAFileAndTellsEachMistake) {
  const TemporaryFile file("[domain]\nname = \"main\"\n");
  const std::string& path = file.path();
  EXPECT_EQ(run("--check " + path).status, 0);
  std::ofstream(path) << "[domain]\nname = 5\nslotz = 1\n";
  const Outcome bad = run("--check " + path + " 2>/dev/null");
  EXPECT_EQ(bad.status, 1);
  EXPECT_NE(bad.output.find(path + ":2:"), std::string::npos) << bad.output;
  EXPECT_NE(bad.output.find(path + ":3:"), std::string::npos) << bad.output;
  EXPECT_EQ(run("--check /nobody/has/this 2>/dev/null").status, 1);
  EXPECT_EQ(run("--config /nobody/has/this 2>/dev/null").status, 1);
  EXPECT_EQ(run("--nonsense 2>/dev/null").status, 109 % 256) << "CLI11's for an unknown option";
}

}  // namespace
}  // namespace hal::test
