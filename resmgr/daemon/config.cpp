// SPDX-License-Identifier: Apache-2.0
#include "resmgr/daemon/config.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>
#include <variant>

#include "resmgr/base/unique_fd.hpp"
#include "resmgr/daemon/config_checks.hpp"
#include "resmgr/daemon/config_keys.hpp"
#include "resmgr/daemon/config_profile.hpp"
#include "resmgr/daemon/config_reader.hpp"
#include "resmgr/daemon/toml_document.hpp"

namespace resmgr::daemon {
namespace {

/// Reads sections by their names into one configuration.
class ConfigReader {
 public:
  ConfigReader(Config& config, ReadContext& context) : config_(config), context_(context) {}

  void read(const TomlMember& member) {
    const std::string& name = member.name;
    if (name == "domain") {
      one(member, domain_keys(), config_.domain, given_.domain);
    } else if (name == "socket") {
      one(member, socket_keys(), config_.socket, given_.socket);
    } else if (name == "limits") {
      one(member, limits_keys(), config_.limits, given_.limits);
    } else if (name == "grace") {
      one(member, grace_keys(), config_.grace, given_.grace);
    } else if (name == "operators") {
      one(member, operators_keys(), config_.operators, given_.operators);
    } else if (name == "attach") {
      each(member, attach_keys(), config_.attach, given_.attach);
    } else if (name == "driver") {
      each(member, driver_keys(), config_.drivers, given_.drivers);
    } else if (name == "budget") {
      each(member, budget_keys(), config_.budgets, given_.budgets);
    } else if (name == "log") {
      one(member, log_keys(), config_.log, given_.log);
    } else {
      unknown(member);
    }
  }

  [[nodiscard]] const GivenConfig& given() const noexcept { return given_; }

 private:
  template <typename Section>
  void one(const TomlMember& member, std::span<const Key<Section>> keys, Section& section,
           Given& given) {
    const std::string title = "[" + member.name + "]";
    if (const auto* table = std::get_if<TomlTable>(&member.value.content)) {
      given = read_section(title, member.place, *table, keys, section, context_);
    } else {
      context_.mistakes.add(member.place, quoted(member.name) + " must be one table, under " +
                                              title + "; this is " +
                                              std::string(member.value.kind()));
    }
  }

  template <typename Rule>
  void each(const TomlMember& member, std::span<const Key<Rule>> keys, std::vector<Rule>& rules,
            std::vector<Given>& given) {
    const std::string title = "[[" + member.name + "]]";
    const auto refuse = [&](Place place, const TomlValue& value) {
      context_.mistakes.add(place, quoted(member.name) + " must be tables, each under " + title +
                                       "; this is " + std::string(value.kind()));
    };
    const auto* list = std::get_if<TomlList>(&member.value.content);
    if (list == nullptr) return refuse(member.place, member.value);
    for (const TomlValue& item : *list) {
      const auto* table = std::get_if<TomlTable>(&item.content);
      if (table == nullptr) {
        refuse(item.place, item);
        continue;
      }
      Rule rule{.line = item.place.line};
      given.push_back(read_section(title, item.place, *table, keys, rule, context_));
      rules.push_back(std::move(rule));
    }
  }

  void unknown(const TomlMember& member) {
    std::vector<std::string_view> names;
    for (const SectionNames& section : config_sections()) names.push_back(section.name);
    std::string hint = belongs_to(member.name);
    if (hint.empty()) hint = did_you_mean(member.name, names);
    context_.mistakes.add(member.place, quoted(member.name) + " is no section" + hint);
  }

  Config& config_;
  ReadContext& context_;
  GivenConfig given_;
};

}  // namespace

ConfigResult read_config(std::string_view text, std::string_view file_name, Accounts& accounts,
                         const budget::Platform* platform) {
  Mistakes mistakes;
  ConfigResult result;
  result.config.file_name = file_name;
  const TomlTable root = parse_toml(text, mistakes);
  // What was left out can neither be missed nor contradicted.
  const bool whole = mistakes.is_empty();
  ReadContext context{.mistakes = mistakes, .accounts = accounts, .whole = whole};
  ConfigReader reader(result.config, context);
  for (const TomlMember& member : root) reader.read(member);
  if (whole) check_config(result.config, reader.given(), mistakes);
  // Last: what it adds is nothing that the file could be wrong about.
  if (whole && result.config.domain.profile != budget::ProfileChoice::None) {
    apply_profile(result.config, reader.given(), platform ? *platform : budget::detect_platform());
  }
  result.mistakes = std::move(mistakes).in_order();
  return result;
}

Result<std::string> load_text(const std::string& path) {
  // Not waiting for the other end of what turns out to be a pipe.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) return fail_errno(errno, "open");
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return fail_errno(errno, "fstat");
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::InvalidArgument, "a configuration is a regular file");
  }
  // It may have grown since fstat, or be one of /proc, whose size is 0: only the end is the end.
  std::string text(kMaxConfigBytes + 1, '\0');
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + bytes, text.size() - bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "read");
    if (count == 0) break;
    bytes += static_cast<std::size_t>(count);
  }
  if (bytes > kMaxConfigBytes) {
    Error error(ErrorCode::InvalidArgument, "a configuration has at most 256 KiB");
    error.with_amounts(std::max(bytes, static_cast<std::size_t>(status.st_size)), kMaxConfigBytes);
    return std::unexpected(std::move(error));
  }
  text.resize(bytes);
  return text;
}

}  // namespace resmgr::daemon
