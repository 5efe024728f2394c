// SPDX-License-Identifier: Apache-2.0
//
// resmgrd: serves a domain to many processes.
#include <sys/random.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include "resmgr/abi/socket_path.hpp"
#include "resmgr/base/clock.hpp"
#include "resmgr/daemon/keeper.hpp"
#include "resmgr/daemon/worker.hpp"

namespace {

using resmgr::LogLevel;
using resmgr::Result;

struct Options {
  std::string domain{resmgr::kDefaultDomain};
  std::string socket;
  resmgr::Capacities capacities;
  bool poll = false;
};

void print(LogLevel level, std::string_view line) {
  constexpr const char* kNames[] = {"info", "warning", "error"};
  std::fprintf(stderr, "resmgrd: %s: %.*s\n", kNames[static_cast<int>(level)],
               static_cast<int>(line.size()), line.data());
}

std::uint64_t random_id() noexcept {
  std::uint64_t id = 0;
  // Without entropy (early boot) the time tells domains of one machine apart.
  if (::getrandom(&id, sizeof(id), 0) != sizeof(id)) id = resmgr::monotonic_ns();
  return id;
}

Result<void> run(const Options& options) {
  namespace daemon = resmgr::daemon;
  const std::string path =
      options.socket.empty() ? resmgr::listening_socket_path(options.domain) : options.socket;
  if (path.empty()) {
    return resmgr::fail(resmgr::ErrorCode::InvalidArgument,
                        "no place for a socket: set XDG_RUNTIME_DIR, or use --socket");
  }
  std::error_code ignored;  // listen() says what is wrong
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  auto listener = resmgr::PacketListener::listen(path, 0666, resmgr::PacketMode::NonBlocking);
  if (!listener) return std::unexpected(std::move(listener.error()));
  auto regions = daemon::DomainRegions::create(options.capacities, {.domain_id = random_id()});
  if (!regions) return std::unexpected(std::move(regions.error()));
  daemon::WorkerOptions worker{.server = {.log = print},
                               .backend = options.poll ? daemon::EventLoop::Backend::Poll
                                                       : daemon::EventLoop::Backend::Automatic,
                               .version = RESMGR_VERSION};
  daemon::Keeper keeper(
      std::move(*regions), std::move(*listener),
      [&](daemon::Inheritance inheritance) { return work(std::move(inheritance), worker); }, print);
  keeper.on_ready(
      [&] { print(LogLevel::Info, "serves domain " + options.domain + " at " + path); });
  return keeper.run();
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  CLI::App app("Serves a domain of resources to many processes.", "resmgrd");
  app.set_version_flag("--version", "resmgrd " RESMGR_VERSION);
  app.add_option("--domain", options.domain, "name of the domain")->capture_default_str();
  app.add_option("--socket", options.socket, "where to listen, instead of /run/resmgr/DOMAIN.sock");
  app.add_option("--resources", options.capacities.slots, "how many there can be")
      ->capture_default_str();
  app.add_flag("--poll", options.poll, "wait by poll(2), not by io_uring");
  CLI11_PARSE(app, argc, argv);
  if (auto served = run(options); !served) {
    print(LogLevel::Error, served.error().message());
    return 1;
  }
  return 0;
} catch (const std::exception& error) {
  print(LogLevel::Error, error.what());
  return 1;
}
