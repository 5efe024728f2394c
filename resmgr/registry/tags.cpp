// SPDX-License-Identifier: Apache-2.0
#include "resmgr/registry/tags.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "resmgr/base/hash.hpp"
#include "resmgr/registry/region.hpp"

namespace resmgr::registry {
namespace {

constexpr std::size_t kBucketOffset = offsetof(rm_tag, bucket_link);
constexpr std::size_t kNextOffset = offsetof(rm_tag, next_link);
constexpr std::size_t kResourcesOffset = offsetof(rm_tag, resources);

// The same in every domain: tables are small, and their order is of no use to anyone.
std::uint32_t tag_hash(std::string_view name) noexcept {
  constexpr std::uint64_t kSeed = 0x5851f42d4c957f2du;
  return static_cast<std::uint32_t>(hash_bytes(name, kSeed) >> 32);
}

bool is_ready(const rm_tag& tag) noexcept { return tag.ready == 1; }

// The name that a damaged record may leave without an end.
std::string_view text_of(const rm_tag& tag) noexcept {
  return {tag.name, ::strnlen(tag.name, sizeof tag.name)};
}

}  // namespace

Word* TagReader::bucket(std::uint32_t hash) const noexcept {
  return tags_.at(hash % std::min(RM_TAG_BUCKETS, tags_.count()));
}

Result<std::uint32_t> TagReader::find(std::string_view name) const noexcept {
  const std::uint32_t hash = tag_hash(name);
  std::uint32_t budget = tags_.count();
  std::uint32_t link = load_field<std::uint32_t>(bucket(hash), kBucketOffset);
  while (link != 0) {
    const Word* const record = tags_.find(link);
    if (record == nullptr || budget-- == 0) {
      return fail(ErrorCode::InvalidArgument, "damaged table of names");
    }
    const auto tag = load_record<rm_tag>(record);
    if (tag.hash == hash && is_ready(tag) && text_of(tag) == name) return link - 1;
    link = tag.next_link;
  }
  return fail(ErrorCode::NotFound);
}

Result<Tag> TagReader::name(std::uint32_t id) const noexcept {
  if (id == 0) return Tag{};
  const Word* const record = tags_.at(id);
  if (record == nullptr) return fail(ErrorCode::NotFound);
  const auto tag = load_record<rm_tag>(record);
  if (!is_ready(tag)) return fail(ErrorCode::NotFound);
  if (!is_valid_tag(text_of(tag))) {
    return fail(ErrorCode::InvalidArgument, "damaged table of names");
  }
  Tag copy{};
  copy_text(copy, text_of(tag));
  return copy;
}

std::uint32_t TagReader::resources(std::uint32_t id) const noexcept {
  const Word* const record = tags_.at(id);
  return record == nullptr ? 0 : load_field<std::uint32_t>(record, kResourcesOffset);
}

void TagWriter::set_resources(std::uint32_t id, std::uint32_t count) noexcept {
  // Damaged entries and shares name drivers that there are not.
  if (id == 0 || id >= load_relaxed(*count_)) return;
  Word* const record = tags_.at(id);
  if (record != nullptr) store_field<std::uint32_t>(record, kResourcesOffset, count);
}

void TagWriter::link(std::uint32_t id, std::uint32_t hash) noexcept {
  Word* const head = bucket(hash);
  Word* const record = tags_.at(id);
  store_field<std::uint32_t>(record, kNextOffset, load_field<std::uint32_t>(head, kBucketOffset));
  store_field<std::uint32_t>(head, kBucketOffset, id + 1);
}

Result<std::uint32_t> TagWriter::intern(std::string_view name) noexcept {
  auto id = number_of(name);
  if (id && is_new(*id)) add(*id, name);
  return id;
}

Result<std::uint32_t> TagWriter::number_of(std::string_view name) const noexcept {
  if (!is_valid_tag(name)) {
    return fail(ErrorCode::InvalidName, "a class or driver has 1 to 31 bytes of the alphabet");
  }
  auto known = find(name);
  if (known || known.error() != ErrorCode::NotFound) return known;

  const std::uint32_t id = load_relaxed(*count_);
  if (id >= tags_.count()) {
    return table_full("table of classes or drivers", std::uint64_t{id} + 1, tags_.count());
  }
  return id;
}

void TagWriter::add(std::uint32_t id, std::string_view name) noexcept {
  Word* const record = tags_.at(id);
  // The record may be a bucket too: that link stays.
  rm_tag tag = load_record<rm_tag>(record);
  tag.hash = tag_hash(name);
  tag.ready = 0;
  std::ranges::fill(tag.name, '\0');
  std::ranges::copy(name, tag.name);
  store_record(record, tag);
  store_field<std::uint32_t>(record, offsetof(rm_tag, ready), 1);
  store_release(*count_, id + 1);
  link(id, tag.hash);
}

void TagWriter::take_back(std::uint32_t id) noexcept {
  if (id + 1 != load_relaxed(*count_)) return;
  Word* const record = tags_.at(id);
  const auto tag = load_record<rm_tag>(record);
  // In this order recovery, which stops at the first name that is not ready, ends it.
  store_field<std::uint32_t>(record, offsetof(rm_tag, ready), 0);
  // The newest name is the first of its chain.
  Word* const head = bucket(tag.hash);
  if (load_field<std::uint32_t>(head, kBucketOffset) == id + 1) {
    store_field<std::uint32_t>(head, kBucketOffset, tag.next_link);
  }
  store_release(*count_, id);
}

void TagWriter::recover() noexcept {
  const std::uint32_t buckets = std::min(RM_TAG_BUCKETS, tags_.count());
  for (std::uint32_t i = 0; i < buckets; ++i) {
    store_field<std::uint32_t>(tags_.at(i), kBucketOffset, 0);
  }
  std::uint32_t id = 1;
  for (; id < tags_.count(); ++id) {
    const auto tag = load_record<rm_tag>(tags_.at(id));
    if (!is_ready(tag) || !is_valid_tag(text_of(tag))) break;
    link(id, tag_hash(text_of(tag)));
  }
  store_release(*count_, id);
  for (id = 0; id < tags_.count(); ++id) {
    // Only where there is something, for most pages of the table were never touched.
    if (resources(id) != 0) store_field<std::uint32_t>(tags_.at(id), kResourcesOffset, 0);
  }
}

}  // namespace resmgr::registry
