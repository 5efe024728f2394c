// SPDX-License-Identifier: Apache-2.0
//
// A client killed between any two instructions of what it asks of a real resmgrd (I3). The client
// is a process of its own, which is stepped through our code and killed with SIGKILL; others are
// clients of the same daemon meanwhile. Whatever the moment, once it is buried the registry says
// what it said before the request or what it says after it, never something in between; what the
// dead one owned is an orphan, what it held is free, and neither keeper nor worker keeps a file.
//
// RESMGR_KILLS: so many kills at moments chosen by RESMGR_SEED, for each request; without it, a
// kill at each instruction.
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "resmgr/client/domain.hpp"
#include "resmgr/client/served_authority.hpp"
#include "tests/integration/served_support.hpp"
#include "tests/kill/lock_inspection.hpp"
#include "tests/lock/fixture.hpp"
#include "tests/registry/stepper.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::client::test {
namespace {

using hal::test::eventually;
using registry::test::kill_where;
using registry::test::stepping_far_is_impossible;

constexpr const char* kDriver = "victim";
constexpr std::uint64_t kBytes = 4096;

// As few as it takes: all of it is looked at after each kill.
constexpr const char* kConfiguration = R"(
[domain]
slots = 16
contexts = 16
clients = 8
nodes = 16
cells = 32
classes = 16
drivers = 16
pairs = 16
dependencies = 16
shares = 16
[grace]
owner = "60min"
)";

/// Addresses of this program's own code, which is ours: libraries are elsewhere.
class OwnCode {
 public:
  OwnCode() {
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* self) {
          auto& code = *static_cast<OwnCode*>(self);
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& part = info->dlpi_phdr[i];
            if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
            code.begin_ = info->dlpi_addr + part.p_vaddr;
            code.end_ = code.begin_ + part.p_memsz;
          }
          return 1;  // the program comes first
        },
        this);
  }
  [[nodiscard]] bool contains(std::uintptr_t address) const {
    return address >= begin_ && address < end_;
  }

 private:
  std::uintptr_t begin_ = 0;
  std::uintptr_t end_ = 0;
};

/// The victim, in its own process.
class Victim {
 public:
  explicit Victim(const std::string& socket) : domain(Domain::connect({socket}).value()) {
    driver = domain->register_driver(kDriver).value();
    user = domain->register_driver("user").value();
    common = domain->view().find("common").value();
  }
  // A process that is killed has no end, and this one is made where that is true.
  Handle add(std::string_view name, bool with_file, std::uint64_t cookie = 0) const {
    Registration registration = described(driver, with_file);
    registration.description.cookie = cookie;
    return domain->register_resource(name, registration).value_or(Handle());
  }
  [[nodiscard]] static Registration described(std::uint32_t driver, bool with_file) {
    Registration made;
    made.description.class_name = "class";
    made.description.flags = ResourceFlags::Shareable;
    made.description.owner_driver = driver;
    if (with_file) {
      made.description.size_bytes = kBytes;
      made.file = {UniqueFd(::memfd_create("victim", MFD_CLOEXEC)), kBytes};
      if (::ftruncate(made.file.fd.get(), kBytes) != 0) std::abort();
    }
    return made;
  }
  void hold_common() const {
    if (!domain->engine().acquire(**domain->thread_context(), common, lock::test::trying())) {
      std::abort();
    }
  }

  std::shared_ptr<Domain> domain;
  std::uint32_t driver = 0;
  std::uint32_t user = 0;
  Handle common;
  Handle own;  ///< what `prepare` made
};

struct Operation {
  const char* name;
  std::function<void(Victim&)> prepare;
  std::function<void(Victim&)> act;
  bool with_file = false;         ///< what the victim owns has one
  bool leaves_an_orphan = false;  ///< another one died before, owning "own"
};

std::ostream& operator<<(std::ostream& out, const Operation& operation) {
  return out << operation.name;
}

class ClientKill : public ::testing::TestWithParam<Operation> {
 protected:
  void SetUp() override {
    if (const auto why = stepping_far_is_impossible()) GTEST_SKIP() << *why;
    auto attached = ServedAuthority::attach({daemon_.socket()});
    ASSERT_TRUE(attached) << attached.error().message();
    attached_.emplace(std::move(*attached));
    other_ = Domain::connect({daemon_.socket()}).value();
    driver_ = other_->register_driver(kDriver).value();
    Registration common;
    common_ = other_->register_resource("common", common).value();
    ASSERT_TRUE(other_->register_driver("user"));
    // Once, so that every function was called here, and a child has nothing to bind.
    (void)kill(~std::uintptr_t{0});
    clean_up();
    files_ = files_of_the_daemon();
    empty_ = contents();
  }

  /// Kills a victim before the operation gets to `where` in its code for the first time; 0: before
  /// all of it. False if it did not get there, and was killed after the operation.
  bool kill(std::uintptr_t where) {
    return kill_at([where](std::uintptr_t counter) { return where == 0 || counter == where; });
  }
  /// The same, asking at each instruction of our code.
  bool kill_at(const std::function<bool(std::uintptr_t)>& here) {
    if (GetParam().leaves_an_orphan) leave_an_orphan();
    std::optional<Victim> victim;
    const auto killed = kill_where(
        [&] {
          victim.emplace(daemon_.socket());
          GetParam().prepare(*victim);
          victim->hold_common();
        },
        [&] { GetParam().act(*victim); },
        [&](std::uintptr_t counter) { return code_.contains(counter) && here(counter); });
    EXPECT_TRUE(killed) << "the victim ended by itself";
    EXPECT_TRUE(eventually([&] { return only_two_are_left(); })) << "the dead one is not buried";
    return killed.value_or(false);
  }
  void leave_an_orphan() {
    std::optional<Victim> victim;
    EXPECT_TRUE(
        kill_where([&] { victim.emplace(daemon_.socket()).add("own", GetParam().with_file); },
                   [] {}, [](std::uintptr_t) { return true; }));
    EXPECT_TRUE(eventually([&] { return only_two_are_left(); }));
  }

  /// Besides the two clients that this process is, nobody has a place.
  [[nodiscard]] bool only_two_are_left() const {
    const lock::LockTables& t = attached_->locks.tables();
    std::uint32_t places = 0;
    for (std::uint32_t i = 0; i < t.client_count; ++i) {
      if ((load(t.client(i)->state) & RM_CONTEXT_STATE_MASK) != RM_CONTEXT_FREE) ++places;
    }
    return places == 2;
  }
  /// But for numbers, which another slot has.
  [[nodiscard]] std::string contents() const {
    std::string text = registry::test::describe(registry::RegistryView(attached_->registry));
    std::string plain;
    bool is_number = false;
    for (const char c : text) {
      is_number = c == '#' || (is_number && c >= '0' && c <= '9');
      if (!is_number) plain += c;
    }
    return plain;
  }
  [[nodiscard]] std::array<std::size_t, 2> files_of_the_daemon() const {
    std::array<std::size_t, 2> counts{};
    const std::array processes{daemon_.keeper(), daemon_.worker()};
    for (std::size_t i = 0; i < processes.size(); ++i) {
      std::error_code ignored;
      const auto folder = "/proc/" + std::to_string(processes.at(i)) + "/fd";
      for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(folder, ignored))
        ++counts.at(i);
    }
    return counts;
  }

  // The keeper hears of what is gone a moment after the worker: the fewest there ever were are what
  // there has to be.
  bool no_file_is_left() {
    const auto now = files_of_the_daemon();
    if (now[0] > files_[0] || now[1] > files_[1]) return false;
    files_ = now;
    return true;
  }

  void everything_is_sound() const {
    const registry::test::World copy(registry::test::copy_of(attached_->registry.bytes()));
    EXPECT_TRUE(registry::test::is_sound(copy));
    const lock::test::LockInspection inspection(attached_->locks.tables(), {});
    copy.view.for_each([&](const registry::EntryCopy& entry) {
      inspection.word_is_settled(entry.handle);
      if (entry.owner_driver == driver_) {
        EXPECT_EQ(entry.state, Lifecycle::Orphaned) << entry.name_text();
      }
      return true;
    });
    inspection.nothing_is_lost(0);
  }
  void others_go_on() {
    auto& engine = other_->engine();
    lock::Context& context = **other_->thread_context();
    const auto grant = engine.acquire(context, common_, lock::test::trying());
    ASSERT_TRUE(grant) << grant.error().message();
    EXPECT_TRUE(grant->inconsistent) << "its holder died";
    EXPECT_TRUE(engine.consistent(context, common_));
    EXPECT_TRUE(engine.release(context, common_, HoldKind::Exclusive));
  }
  /// As the victim's driver, come again: takes what it left, and gives it back.
  void clean_up() {
    for (const char* name : {"own", "new", "second"}) {
      if (other_->view().lookup(name).is_null()) continue;
      Registration again = Victim::described(driver_, GetParam().with_file);
      const auto adopted = other_->register_resource(name, again);
      ASSERT_TRUE(adopted) << name << ": " << adopted.error().message();
    }
    for (const char* name : {"own", "new", "second"}) {
      const Handle handle = other_->view().lookup(name);
      if (handle.is_null()) continue;
      const auto gone = other_->unregister_resource(handle, 0);
      ASSERT_TRUE(gone) << name << ": " << gone.error().message();
    }
  }
  void look_around(const std::string& before, const std::string& after) {
    const std::string now = contents();
    EXPECT_TRUE(now == before || now == after) << now << "instead of\n"
                                               << before << "or\n"
                                               << after;
    everything_is_sound();
    others_go_on();
    clean_up();
    EXPECT_EQ(contents(), empty_);
    EXPECT_TRUE(eventually([&] { return no_file_is_left(); })) << "a file is left";
  }

  const hal::test::TemporaryFile configuration_{kConfiguration};
  hal::test::Daemon daemon_{{"--config", configuration_.path()}};
  const OwnCode code_;
  std::optional<ServedAuthority::Attached> attached_;  ///< to look
  std::shared_ptr<Domain> other_;                      ///< one who lives on
  std::uint32_t driver_ = 0;
  Handle common_;
  std::array<std::size_t, 2> files_{};
  std::string empty_;
};

TEST_P(ClientKill, LeavesWhatWasOrWhatIsToBe) {
  // What there is if it is killed before it begins, and when it is done.
  ASSERT_TRUE(kill(0));
  const std::string before = contents();
  look_around(before, before);
  std::vector<std::uintptr_t> trace;
  ASSERT_FALSE(kill_at([&](std::uintptr_t counter) {
    trace.push_back(counter);
    return false;
  }));
  const std::string after = contents();
  look_around(after, after);
  ASSERT_NE(before, after) << "the operation does nothing";

  const char* const sample = std::getenv("RESMGR_KILLS");
  std::vector<std::size_t> moments(trace.size());
  for (std::size_t i = 0; i < moments.size(); ++i) moments.at(i) = i;
  if (sample) {
    std::mt19937_64 random(resmgr::test::seed());
    std::ranges::shuffle(moments, random);
    moments.resize(std::min<std::size_t>(moments.size(), std::strtoul(sample, nullptr, 10)));
  }
  std::set<std::uintptr_t> killed;
  std::size_t found_done = 0;  // of them
  std::size_t kills = 0;
  const auto look = [&] {
    ++kills;
    if (contents() == after) ++found_done;
    look_around(before, after);
  };
  for (const std::size_t moment : moments) {
    if (HasFailure()) break;  // the first one says it all
    std::size_t number = 0;
    SCOPED_TRACE("before instruction " + std::to_string(moment));
    (void)kill_at([&](std::uintptr_t counter) {
      if (number++ != moment) return false;
      killed.insert(counter);
      return true;
    });
    look();
  }
  // What two runs did differently is met by its address.
  const std::set<std::uintptr_t> all(trace.begin(), trace.end());
  for (const std::uintptr_t where : all) {
    if (sample || HasFailure() || killed.contains(where)) continue;
    SCOPED_TRACE("at " + std::to_string(where));
    if (kill(where)) killed.insert(where);
    look();
  }
  std::erase_if(killed, [&](std::uintptr_t where) { return !all.contains(where); });
  std::cout << GetParam().name << ": " << kills << " kills in a trace of " << trace.size()
            << " instructions, at " << killed.size() << " of its " << all.size() << " addresses; "
            << found_done << " found it done\n";
  if (!sample && !HasFailure()) {
    EXPECT_EQ(killed.size(), all.size());
    EXPECT_GT(found_done, 0u);
    EXPECT_LT(found_done, kills);
  }
}

// ---- what is asked ------------------------------------------------------------------------------

void nothing(Victim&) {}

void own(Victim& victim) { victim.own = victim.add("own", false); }

void own_with_file(Victim& victim) { victim.own = victim.add("own", true); }

void share(Victim& victim) {
  (void)victim.domain->authority().share(victim.own, victim.driver, victim.user, Rights::Read);
}

void own_and_share(Victim& victim) {
  own(victim);
  share(victim);
}

void own_two(Victim& victim) {
  own(victim);
  (void)victim.add("second", false);
}

const Operation kOperations[] = {
    {"register", nothing, [](Victim& v) { (void)v.add("new", false); }},
    {"register_with_a_file", nothing, [](Victim& v) { (void)v.add("new", true); }, true},
    {"share", own, share},
    {"unshare", own_and_share,
     [](Victim& v) { (void)v.domain->authority().unshare(v.own, v.driver, v.user); }},
    {"add_dependency", own_two,
     [](Victim& v) {
       (void)v.domain->authority().add_dependency(v.own, v.domain->view().lookup("second"));
     }},
    // By another cookie than the orphan's, which tells whose it is.
    {"adopt", nothing, [](Victim& v) { (void)v.add("own", true, 1); }, true, true},
    {"unregister", own_with_file, [](Victim& v) { (void)v.domain->unregister_resource(v.own, 0); },
     true},
};

INSTANTIATE_TEST_SUITE_P(Operations, ClientKill, ::testing::ValuesIn(kOperations),
                         [](const auto& operation) { return std::string(operation.param.name); });

}  // namespace
}  // namespace resmgr::client::test
