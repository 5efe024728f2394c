// SPDX-License-Identifier: Apache-2.0
#include "tests/kill/worker_scene.hpp"

#include <fcntl.h>

#include <cctype>
#include <string_view>
#include <utility>

#include "resmgr/lock/pools.hpp"
#include "tests/kill/lock_inspection.hpp"
#include "tests/registry/support.hpp"

namespace resmgr::daemon::test {
namespace {

using lock::test::LockInspection;

/// Takes out " #7": which slot something has is no matter.
void without_numbers(std::string& text) {
  constexpr std::string_view kMark = " #";
  for (std::size_t at = text.find(kMark); at != std::string::npos; at = text.find(kMark, at)) {
    std::size_t end = at + kMark.size();
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
    const bool is_number = end != at + kMark.size();
    if (is_number) text.erase(at, end - at);
    if (!is_number) at = end;
  }
}
using lock::test::timed;

// As little memory as it takes: all of it is compared after each instruction.
constexpr Capacities kTiny{.slots = 8,
                           .contexts = 6,
                           .clients = 8,
                           .nodes = 8,
                           .cells = 12,
                           .classes = 10,
                           .drivers = 8,
                           .pairs = 8,
                           .dependencies = 8,
                           .shares = 8};
constexpr RegionIdentity kIdentity{.domain_id = 42, .epoch = 1};
constexpr std::uint64_t kMomentNs = 10'000'000;

UniqueFd duplicate(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

// The same memory, mapped once more.
DomainRegions again(const DomainRegions& regions) {
  auto registry = registry::RegistryRegion::attach(duplicate(regions.registry.fd()),
                                                   Mapping::Access::ReadWrite);
  auto locks = lock::LockRegion::attach(duplicate(regions.locks.fd()));
  return {std::move(*registry), std::move(*locks)};
}

}  // namespace

// ---- SharedNotes --------------------------------------------------------------------------------

SharedNotes::SharedNotes()
    : memory_(
          Mapping::map_file(memory(sizeof(Pages)).get(), sizeof(Pages), Mapping::Access::ReadWrite)
              .value()) {}

SharedNotes::Pages& SharedNotes::pages() const noexcept {
  return *static_cast<Pages*>(static_cast<void*>(memory_.bytes().data()));
}

void SharedNotes::write(const Entry& entry) noexcept {
  Pages& all = pages();
  if (all.count == all.entries.size()) return;
  all.entries[all.count] = entry;
  store(all.count, all.count + 1);
}

void SharedNotes::file_kept(Handle handle, int) {
  write({.kind = Kind::FileKept, .handle = handle.bits()});
}

void SharedNotes::file_dropped(Handle handle) {
  write({.kind = Kind::FileDropped, .handle = handle.bits()});
}

void SharedNotes::client_came(const Client& client) {
  write({.kind = Kind::ClientCame,
         .client = client.index,
         .sequence = client.sequence,
         .start_time = client.start_time,
         .pid = client.pid});
}

void SharedNotes::client_leaves(const Client& client) {
  write({.kind = Kind::ClientLeaves, .client = client.index});
}

void SharedNotes::client_went(const Client& client) {
  write({.kind = Kind::ClientWent, .client = client.index});
}

SharedNotes::Read SharedNotes::read() const {
  Read read;
  EXPECT_LT(pages().count, pages().entries.size()) << "the notes are full";
  for (const Entry& entry : std::span(pages().entries).first(pages().count)) {
    const Handle handle = Handle::from_bits(entry.handle);
    switch (entry.kind) {
      case Kind::None:
        break;
      case Kind::FileKept:
        read.files.insert(handle);
        break;
      case Kind::FileDropped:
        read.files.erase(handle);
        break;
      case Kind::ClientCame:
        read.clients[entry.client] = {.pid = entry.pid,
                                      .start_time = entry.start_time,
                                      .index = entry.client,
                                      .sequence = entry.sequence};
        break;
      case Kind::ClientLeaves:
        read.leaving.insert(entry.client);
        break;
      case Kind::ClientWent:
        read.leaving.erase(entry.client);
        read.clients.erase(entry.client);
        break;
    }
  }
  return read;
}

// ---- Scene --------------------------------------------------------------------------------------

Scene::Scene()
    : regions_{registry::RegistryRegion::create(kTiny, kIdentity).value(),
               lock::LockRegion::create(kTiny, kIdentity).value()},
      first_state_(DomainState::take_over(again(regions_)).value()),
      first_clerk_(std::make_unique<Clerk>(*first_state_, "1", notes_)),
      state_(first_state_.get()),
      clerk_(first_clerk_.get()) {
  owner = std::make_unique<Peer>(*clerk_, "owner", 11);
  user = std::make_unique<Peer>(*clerk_, "user", 12);
  victim = std::make_unique<Peer>(*clerk_, "victim", 13);
  store(regions_.locks.tables().region->next_ticket, 100);  // who comes next is the youngest
}

std::array<UniqueFd, 1> Scene::file() const { return {duplicate(file_.get())}; }

std::optional<ErrorCode> Scene::greet(Client& client, std::string_view driver) {
  const auto bytes = wire::encode(wire::Hello{.driver = driver}, 1, in_).value();
  const auto answer = clerk_->answer(client, std::span(in_).first(bytes), {}, out_);
  const auto frame = wire::read_frame(std::span(out_).first(answer.bytes)).value();
  if (frame.type == wire::FrameType::Welcome) return {};
  return wire::ResultReply::decode(frame).value().error;
}

void Scene::hold(Peer& who, Handle handle, HoldKind kind) {
  ASSERT_TRUE(who.engine->acquire(*who.context, handle, trying(kind)));
  if (&who != victim.get()) holds_.push_back({&who, handle, kind});
}

void Scene::wait(Peer& who, Handle handle, std::uint8_t mode, std::uint64_t ticket) {
  rm_node& node = lock::test::queue_up(regions_.locks.tables(), *who.context, handle, mode, ticket);
  if (&who != victim.get()) waits_.push_back(&node);
}

void Scene::latch(const Peer& who, Handle handle) const {
  std::uint64_t& word = regions_.locks.tables().slot(handle.slot())->word;
  store(word, lock::StateWord{load(word)}.with_latch(who.context->id).bits);
}

void Scene::unlatch(Handle handle) const {
  std::uint64_t& word = regions_.locks.tables().slot(handle.slot())->word;
  store(word, lock::StateWord{load(word)}.with_latch(0).without(RM_WORD_WORK).bits);
}

void Scene::kill_victim() { dead_contexts_.push_back(victim->context->id); }

void Scene::let_victim_hang_up() {
  victim_hung_up_ = true;
  kill_victim();
}

std::array<std::span<std::byte>, 3> Scene::memories() noexcept {
  auto* const locks = reinterpret_cast<std::byte*>(regions_.locks.tables().region);
  return {regions_.registry.bytes(), std::span(locks, regions_.locks.header().region_bytes),
          notes_.bytes()};
}

std::string Scene::contents() {
  std::string text = registry::test::describe(state_->view());
  without_numbers(text);
  state_->view().for_each([&](const registry::EntryCopy& entry) {
    for (Peer* who : {owner.get(), user.get()}) {
      const auto refusal = who->request(wire::OpenFdRequest{.handle = entry.handle});
      text += std::string(entry.name_text()) + " for " + std::to_string(who->client.pid) + ": " +
              (refusal ? std::string(to_string(*refusal)) : "a file") + '\n';
    }
    return true;
  });
  return text;
}

// ---- Succession ---------------------------------------------------------------------------------

Succession::Succession(Scene& scene)
    : scene_(scene),
      before_{scene.owner->client, scene.user->client, scene.victim->client},
      state_(DomainState::take_over(again(scene.regions_)).value()),
      clerk_(std::make_unique<Clerk>(*state_, "2", scene.notes_)) {
  const SharedNotes::Read notes = scene.notes_.read();
  for (const Handle handle : notes.files) clerk_->inherit(handle, duplicate(scene.file_.get()));
  for (const auto& [index, client] : notes.clients) clerk_->inherit(client);
  clerk_->inherit_orphans();
  clerk_->inherit_quarantine();
  for (const std::uint32_t index : notes.leaving) clerk_->bury_absent(index);
  scene.state_ = state_.get();
  scene.clerk_ = clerk_.get();
}

Succession::~Succession() {
  scene_.state_ = scene_.first_state_.get();
  scene_.clerk_ = scene_.first_clerk_.get();
  for (std::size_t i = 0; i < before_.size(); ++i) {
    peers()[i]->turn_to(*scene_.clerk_);
    peers()[i]->client = before_[i];
  }
}

std::array<Peer*, 3> Succession::peers() const noexcept {
  return {scene_.owner.get(), scene_.user.get(), scene_.victim.get()};
}

void Succession::check() const {
  registry_is_sound();
  slots_agree_with_entries();
  locks_are_settled();
  for (const Scene::Hold& hold : scene_.holds_) {
    const auto kind = hold.who->engine->held_kind(*hold.who->context, hold.handle);
    ASSERT_TRUE(kind) << "a living one's hold is gone: " << kind.error().message();
    EXPECT_EQ(*kind, hold.kind);
  }
}

void Succession::registry_is_sound() const {
  const registry::test::World world(std::move(again(scene_.regions_).registry));
  EXPECT_TRUE(registry::test::is_sound(world));
}

void Succession::slots_agree_with_entries() const {
  const lock::LockTables& t = scene_.regions_.locks.tables();
  std::vector<bool> used(t.slot_count);
  state_->view().for_each([&](const registry::EntryCopy& entry) {
    const rm_slot& slot = t.slots[entry.handle.slot()];
    const lock::StateWord word{load(slot.word)};
    used[entry.handle.slot()] = true;
    EXPECT_EQ(word.generation(), entry.handle.generation()) << entry.name_text();
    EXPECT_FALSE(word.has(RM_WORD_ABSENT)) << entry.name_text();
    EXPECT_EQ(slot.class_id, entry.class_id) << entry.name_text();
    EXPECT_EQ((slot.attributes & RM_SLOT_ATTR_LAZY) != 0, entry.state == Lifecycle::Allocated)
        << entry.name_text();
    return true;
  });
  for (std::uint32_t slot = 0; slot < used.size(); ++slot) {
    const lock::StateWord word{load(t.slots[slot].word)};
    if (used[slot] || word.has(RM_WORD_ABSENT)) continue;
    // The next registration there is of a later one.
    EXPECT_LE(word.generation(), state_->view().generation(slot)) << "slot " << slot;
  }
}

void Succession::locks_are_settled() const {
  const LockInspection inspection(scene_.regions_.locks.tables(), scene_.dead_contexts_);
  state_->view().for_each([&](const registry::EntryCopy& entry) {
    inspection.word_is_settled(entry.handle);
    return true;
  });
  for (const rm_node* node : scene_.waits_) {
    const lock::NodeWord word{load(node->word)};
    if (word.state() == RM_NODE_OWNER_DIED) continue;   // of an orphan whose time is up
    if (word.state() == RM_NODE_QUARANTINED) continue;  // of what was poisoned
    if (state_->view().is_live({load(node->slot), load(node->generation)})) {
      inspection.wait_is_served_or_blocked(*node);
    } else {
      EXPECT_EQ(word.state(), unsigned{RM_NODE_REMOVED}) << "I6";
    }
  }
  inspection.nothing_is_lost(scene_.waits_.size());
}

void Succession::clients_return() {
  for (Peer* peer : peers()) {
    if (peer == scene_.victim.get() && !scene_.victim_stays()) continue;
    const std::uint32_t place = peer->client.index;
    EXPECT_TRUE(peer->come_back(*clerk_)) << "pid " << peer->client.pid << " lost its place";
    EXPECT_EQ(peer->client.index, place);
    const std::array names{"owner", "user", "victim"};
    EXPECT_FALSE(peer->request(wire::InternDriverRequest{.driver = names[peer->client.pid - 11]}));
  }
  if (scene_.victim_stays()) return;
  if (scene_.victim_hung_up_) {
    if (scene_.victim->come_back(*clerk_)) {
      EXPECT_EQ(load(scene_.victim->context->record->state) & RM_CONTEXT_STATE_MASK,
                unsigned{RM_CONTEXT_LIVE})
          << "taken back with a context that is dead";
    }
    clerk_->bury(scene_.victim->client);
  } else {
    clerk_->bury_absent(scene_.victim->client.index);
  }
  EXPECT_FALSE(clerk_->recover()) << "nobody is in the middle of anything";
}

void Succession::newcomer_works() {
  Peer newcomer(*clerk_, "newcomer", 99);
  std::vector<Handle> all;
  state_->view().for_each([&](const registry::EntryCopy& entry) {
    all.push_back(entry.handle);
    return true;
  });
  for (const Handle handle : all) {
    EXPECT_EQ(newcomer.request(wire::UnregisterRequest{wire::UnregisterStep::Begin, handle}),
              ErrorCode::NotPermitted);
  }
  // An operator looked after the hardware.
  for (const Handle handle : all) (void)clerk_->unpoison(newcomer.client, handle);
  const Handle own = newcomer.added("newcomers");
  all.push_back(own);
  for (rm_node* node : scene_.waits_) {
    const lock::NodeWord word{load(node->word)};
    if (word.waiting()) store(node->word, word.to(RM_NODE_CANCELLED).bits);
  }
  for (Peer* peer : peers()) {
    if (peer == scene_.victim.get() && !scene_.victim_stays()) continue;
    for (const Handle handle : all) {
      const auto kind = peer->engine->held_kind(*peer->context, handle);
      if (kind) {
        EXPECT_TRUE(peer->engine->release(*peer->context, handle, *kind));
      }
    }
  }
  for (const Handle handle : all) {
    EXPECT_TRUE(newcomer.engine->acquire(*newcomer.context, handle, timed(kMomentNs)))
        << "it is stuck";
    if (handle == own) continue;
    EXPECT_TRUE(newcomer.engine->release(*newcomer.context, handle, HoldKind::Exclusive));
  }
  using Step = wire::UnregisterStep;
  EXPECT_FALSE(newcomer.request(wire::UnregisterRequest{Step::Begin, own}));
  EXPECT_FALSE(newcomer.request(wire::UnregisterRequest{Step::Finish, own}));
  EXPECT_TRUE(state_->view().lookup("newcomers").is_null());
  newcomer.contexts->close(*newcomer.context, false);
}

}  // namespace resmgr::daemon::test
