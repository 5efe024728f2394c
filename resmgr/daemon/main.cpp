// SPDX-License-Identifier: Apache-2.0
//
// resmgrd: serves a domain to many processes.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "resmgr/abi/socket_path.hpp"
#include "resmgr/daemon/descriptor_limit.hpp"
#include "resmgr/daemon/fd_store.hpp"
#include "resmgr/daemon/handover.hpp"
#include "resmgr/daemon/keeper.hpp"
#include "resmgr/daemon/log_output.hpp"
#include "resmgr/daemon/service_manager.hpp"
#include "resmgr/daemon/takeover.hpp"
#include "resmgr/daemon/worker.hpp"

namespace {

using resmgr::LogLevel;
using resmgr::Result;

namespace daemon = resmgr::daemon;

constexpr const char* kConfigPath = "/etc/resmgr/resmgrd.toml";

// How often something is done where no watchdog wants it sooner.
constexpr std::chrono::microseconds kTick = std::chrono::seconds(1);

struct Options {
  std::string domain;
  std::string socket;
  std::string config;
  std::string check;
  bool poll = false;
  bool takeover = false;
};

/// What the command line says comes last.
void apply(const Options& options, daemon::Config& config) {
  if (!options.domain.empty()) config.domain.name = options.domain;
  if (!options.socket.empty()) config.socket.path = options.socket;
  if (config.socket.path.empty()) {
    config.socket.path = resmgr::listening_socket_path(config.domain.name);
  }
}

/// What the file says, and then the command line.
Result<daemon::Config> configure(Options& options, const resmgr::LogSink& log) {
  daemon::Config config;
  // Nobody has to have a file; one that was named has to be there.
  if (options.config.empty() && ::access(kConfigPath, F_OK) == 0) options.config = kConfigPath;
  if (!options.config.empty()) {
    auto loaded = daemon::load_config(options.config, log);
    if (!loaded) return loaded;
    config = *std::move(loaded);
  }
  apply(options, config);
  return config;
}

/// On SIGHUP. Returns what the keeper goes on with, whose text the worker gets. Errors: those of
/// load_config(), and of SharedText::put().
Result<daemon::Config> configure_anew(const Options& options, daemon::SharedText& shared,
                                      const resmgr::LogSink& log) {
  const auto text = daemon::load_text(options.config);
  if (!text) return std::unexpected(text.error());
  auto config = daemon::parse_config(*text, options.config, log);
  if (!config) return config;
  apply(options, *config);
  if (auto put = shared.put(*text); !put) return std::unexpected(std::move(put.error()));
  return config;
}

/// Raises the limit, and tells if it is too low for what is promised at most.
void check_descriptors(const daemon::Config& config, const resmgr::LogSink& log) {
  const auto limit = daemon::raise_descriptor_limit();
  const std::string warning = limit ? daemon::descriptor_warning(config, *limit)
                                    : "the limit of descriptors: " + limit.error().message();
  if (!warning.empty()) log(LogLevel::Info, warning);
}

/// The socket that the service manager opened, or one of our own.
Result<resmgr::PacketListener> listen(const daemon::Config& config,
                                      std::vector<daemon::PassedFd> passed) {
  if (!passed.empty()) {
    return resmgr::PacketListener::adopt(std::move(passed.front().fd),
                                         resmgr::PacketMode::NonBlocking);
  }
  const std::string& path = config.socket.path;
  if (path.empty()) {
    return resmgr::fail(resmgr::ErrorCode::InvalidArgument,
                        "no place for a socket: set XDG_RUNTIME_DIR, or use --socket");
  }
  std::error_code ignored;  // listen() says what is wrong
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  auto listener =
      resmgr::PacketListener::listen(path, config.socket.mode, resmgr::PacketMode::NonBlocking);
  if (!listener) return listener;
  const auto keep = static_cast<uid_t>(-1);
  if ((config.socket.owner || config.socket.group) &&
      ::chown(path.c_str(), config.socket.owner.value_or(keep),
              config.socket.group.value_or(keep)) != 0) {
    return resmgr::fail_errno(errno, "chown of the socket");
  }
  return listener;
}

Result<daemon::Property> new_domain(const daemon::Config& config) {
  const resmgr::RegionIdentity identity =
      resmgr::new_identity(config.domain.compact_handles ? RM_DOMAIN_COMPACT_HANDLES : 0u);
  auto regions = daemon::DomainRegions::create(config.domain.capacities, identity);
  if (!regions) return std::unexpected(std::move(regions.error()));
  if (config.domain.profile == resmgr::budget::ProfileChoice::Static) {
    if (auto whole = regions->allocate(); !whole) return std::unexpected(std::move(whole.error()));
  }
  auto ledger = daemon::LedgerFile::create(config.domain.capacities.clients);
  if (!ledger) return std::unexpected(std::move(ledger.error()));
  return daemon::Property{
      .regions = std::move(*regions), .ledger = std::move(*ledger), .estate = {}, .listener = {}};
}

/// The domain that was kept, or an empty one. Errors: also those that may not last, and another
/// version's domain: what was kept stays where it is.
Result<daemon::Property> settle(daemon::Legacy legacy, daemon::FdStore& store,
                                const daemon::Config& config, const resmgr::LogSink& log) {
  if (legacy.is_empty()) return new_domain(config);
  auto taken = daemon::take_over(std::move(legacy), daemon::kTurnPatienceNs);
  if (taken) {
    log(LogLevel::Info, "takes over the domain that was kept, in epoch " +
                            std::to_string(taken->regions.registry.header().epoch));
    return taken;
  }
  if (taken.error() != resmgr::ErrorCode::InvalidArgument) return taken;
  log(LogLevel::Error, "the domain that was kept can't be taken over, and an empty one begins: " +
                           taken.error().message());
  store.forget();
  return new_domain(config);
}

/// From a daemon that runs, which no service manager keeps anything of: what that has is of before.
Result<daemon::Property> succeed(daemon::Predecessor& predecessor, daemon::ServiceManager& manager,
                                 daemon::FdStore& store) {
  auto property = daemon::take_over(predecessor.take_legacy(), daemon::kTurnPatienceNs);
  if (!property) return property;
  auto passed = manager.listen_fds();
  (void)store.sort(passed);
  store.forget();
  property->listener = predecessor.take_listener();
  // A service manager's restart is enough, and it should know who runs.
  if (!manager.is_present()) property->door = predecessor.take_door();
  return property;
}

/// From the service manager, or anew.
Result<daemon::Property> begin(daemon::ServiceManager& manager, daemon::FdStore& store,
                               const daemon::Config& config, const resmgr::LogSink& log) {
  auto passed = manager.listen_fds();
  daemon::Legacy legacy = store.sort(passed);
  auto listener = listen(config, std::move(passed));
  if (!listener) return std::unexpected(std::move(listener.error()));
  auto property = settle(std::move(legacy), store, config, log);
  if (!property) return property;
  property->listener = std::move(*listener);
  // As in succeed().
  if (manager.is_present() || config.socket.path.empty()) return property;
  auto door = resmgr::PacketListener::listen(daemon::door_path(config.socket.path), 0600,
                                             resmgr::PacketMode::NonBlocking);
  if (door) {
    property->door = std::move(*door);
  } else {
    log(LogLevel::Warning, "the domain can't be handed over: " + door.error().message());
  }
  return property;
}

Result<void> run(Options& options, daemon::LogOutput& output) {
  const resmgr::LogSink log = output.sink();
  auto config = configure(options, log);
  if (!config) return std::unexpected(std::move(config.error()));
  const auto set_log = [&output](const daemon::LogConfig& said) {
    output.set_limits(said.level, said.rate_limit);
  };
  set_log(config->log);
  check_descriptors(*config, log);
  auto shared = daemon::SharedText::create();
  if (!shared) return std::unexpected(std::move(shared.error()));
  auto manager = daemon::ServiceManager::from_environment();
  if (!manager) return std::unexpected(std::move(manager.error()));
  daemon::FdStore store(*manager, log);
  std::optional<daemon::Predecessor> predecessor;
  if (options.takeover) {
    auto asked = daemon::Predecessor::ask(daemon::door_path(config->socket.path));
    if (!asked) return std::unexpected(std::move(asked.error()));
    predecessor = std::move(*asked);
  }
  auto property =
      predecessor ? succeed(*predecessor, *manager, store) : begin(*manager, store, *config, log);
  if (!property) return std::unexpected(std::move(property.error()));
  if (auto kept = store.keep(*property); !kept) return kept;
  // One that was passed is where its unit says.
  const std::string socket_path = property->listener.path();
  if (manager->is_present()) {
    property->estate.on_file = [&](resmgr::Handle handle, int file) { store.file(handle, file); };
  }

  const daemon::WorkerOptions worker{.config = *config,
                                     .config_path = options.config,
                                     .text = options.config.empty() ? nullptr : &*shared,
                                     .backend = options.poll
                                                    ? daemon::EventLoop::Backend::Poll
                                                    : daemon::EventLoop::Backend::Automatic,
                                     .version = RESMGR_VERSION,
                                     .log = log,
                                     .on_log_config = set_log};
  daemon::Keeper::Calls calls{
      .work =
          [&](daemon::Inheritance inheritance) {
            // The keeper's end of that conversation ends with the keeper.
            predecessor.reset();
            return work(std::move(inheritance), worker);
          },
      .may_begin =
          [&] {
            if (!predecessor) return true;
            const auto alone = predecessor->confirm();
            if (!alone) {
              log(LogLevel::Error, alone.error().message());
              // The one before goes on with its own, and this copy grows old.
              store.forget();
              store.flush();
            }
            predecessor.reset();
            return alone.has_value();
          },
      .ready =
          [&] {
            const std::string status =
                "serves domain " + config->domain.name + " at " + socket_path;
            const auto told = manager->ready(status);
            if (!told && told.error() == resmgr::ErrorCode::WouldBlock) return false;
            log(LogLevel::Info, status);
            return true;
          },
      .reload =
          [&] {
            if (options.config.empty()) return;
            if (auto loaded = configure_anew(options, *shared, log)) {
              *config = *std::move(loaded);
              set_log(config->log);
              log(LogLevel::Info, "the configuration was read anew");
            } else {
              log(LogLevel::Error, loaded.error().message() + "; the old policy stays");
            }
          }};
  if (manager->is_present()) {
    const auto interval = manager->watchdog_interval();
    calls.tick = [&manager, &store, is_watched = interval.has_value()] {
      if (is_watched) (void)manager->ping_watchdog();
      store.flush();
    };
    calls.tick_ns = static_cast<std::uint64_t>(
        std::chrono::nanoseconds(interval ? *interval / 2 : kTick).count());
  }
  daemon::Keeper keeper(std::move(*property), std::move(calls), log);
  auto ended = keeper.run();
  (void)manager->stopping();
  return ended;
}

/// Mistakes go to standard output, for this is what was asked for.
int check(const std::string& path) {
  const auto loaded = daemon::load_config(path, [](LogLevel, std::string_view line) {
    std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  });
  if (loaded) {
    check_descriptors(*loaded, [&](LogLevel, std::string_view line) {
      std::printf("%s: warning: %.*s\n", path.c_str(), static_cast<int>(line.size()), line.data());
    });
    return 0;
  }
  std::fprintf(stderr, "resmgrd: %s: %s\n", path.c_str(), loaded.error().message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  CLI::App app("Serves a domain of resources to many processes.", "resmgrd");
  app.set_version_flag("--version", "resmgrd " RESMGR_VERSION);
  app.add_option("--config", options.config,
                 std::string("configuration (default: ") + kConfigPath + ", if it is there)");
  app.add_option("--check", options.check, "tell the mistakes of that configuration, and end");
  app.add_option("--domain", options.domain, "name of the domain (default: main)");
  app.add_option("--socket", options.socket, "where to listen, instead of /run/resmgr/DOMAIN.sock");
  app.add_flag("--takeover", options.takeover,
               "take the domain over from the daemon that serves it");
  app.add_flag("--poll", options.poll, "wait by poll(2), not by io_uring");
  CLI11_PARSE(app, argc, argv);
  if (!options.check.empty()) return check(options.check);
  (void)std::signal(SIGPIPE, SIG_IGN);
  daemon::LogOutput output;
  if (auto served = run(options, output); !served) {
    output.write(LogLevel::Error, served.error().message());
    return 1;
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "resmgrd: %s\n", error.what());
  return 1;
}
