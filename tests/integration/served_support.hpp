// SPDX-License-Identifier: Apache-2.0
//
// What tests with several processes share: a resmgrd of their own, and children that do what they
// are told.
//
// What it is: Daemon (the program itself, with a socket in a folder of its own) and Child, a forked
// process that runs a function and talks by single bytes, so that tests order processes without
// sleeping. What it is not: gtest in children; they report by their exit status. Thread-safety: one
// thread.
//
//   Daemon daemon;
//   Child child([&](Child::Talk& talk) {
//     auto manager = daemon.connect();
//     talk.say('r');
//     return talk.hear() == 'g' ? 0 : 1;
//   });
//   ASSERT_EQ(child.hear(), 'r');
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <hal/resource_manager.hpp>

namespace hal::test {

/// A file with that text, as long as it lives.
class TemporaryFile {
 public:
  explicit TemporaryFile(const char* text);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

class Daemon {
 public:
  /// Starts it, and returns when it serves. `arguments`: besides the socket.
  explicit Daemon(const std::vector<std::string>& arguments = {});
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  [[nodiscard]] const std::string& socket() const noexcept { return socket_; }
  /// A client of it, in the calling process; null if it can't be.
  [[nodiscard]] std::unique_ptr<ResourceManager> connect(LogSink log = {}) const;
  [[nodiscard]] pid_t keeper() const noexcept { return keeper_; }
  /// The worker that there is now; 0 if there is none.
  [[nodiscard]] pid_t worker() const;
  /// Kills the worker, and returns when it is dead.
  void kill_worker() const;
  /// Kills keeper and worker, and starts another one at the same place.
  void start_anew();
  /// Starts another one that takes the domain over. Returns the exit status of the one before.
  int hand_over();
  // The same step by step, for who comes between the two.
  /// Starts another one that asks for the domain. Returns its keeper.
  [[nodiscard]] pid_t begin_takeover() const { return spawn({"--takeover"}); }
  /// `next` has it. Returns the exit status of the one before, or minus the signal that killed it.
  int end_takeover(pid_t next);
  /// The same, and nobody serves: `next` has it no more.
  int lose_takeover(pid_t next);
  /// Kills a keeper, of this one or the next, and the process is gone; of this one its worker too.
  static void kill_keeper(pid_t keeper);
  /// The exit status of one that ends by itself.
  [[nodiscard]] static int end_of(pid_t keeper);
  /// Ends it, and returns its exit status; -1 if it was killed.
  int stop();

 private:
  void start();
  [[nodiscard]] static pid_t worker_of(pid_t keeper);
  [[nodiscard]] pid_t spawn(const std::vector<std::string>& more) const;

  std::string folder_;
  std::string socket_;
  std::vector<std::string> arguments_;
  pid_t keeper_ = 0;
};

class Child {
 public:
  /// The child's side of the conversation.
  class Talk {
   public:
    Talk(int in, int out) noexcept : in_(in), out_(out) {}
    void say(char word) const;
    /// 0: the other side is gone.
    [[nodiscard]] char hear() const;

   private:
    int in_;
    int out_;
  };

  explicit Child(const std::function<int(Talk&)>& run);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  void say(char word) const { mine_.say(word); }
  [[nodiscard]] char hear() const { return mine_.hear(); }
  /// Readable when there is something to hear.
  [[nodiscard]] int in() const noexcept { return in_; }
  void signal(int number) const;
  /// Returns its exit status, or minus the signal that killed it.
  int wait();

 private:
  pid_t pid_ = 0;
  int in_ = -1;
  int out_ = -1;
  Talk mine_{-1, -1};
};

/// Gives up root for good, in a child. False: it was not root.
[[nodiscard]] bool become_nobody();

/// /proc is not to be seen any more, as in a chroot; of this process alone. False: it can't be, for
/// only root can, and not everywhere.
[[nodiscard]] bool hide_proc();
/// Whether a child could.
[[nodiscard]] bool can_hide_proc();

/// Waits until `condition` holds, as others bring about; false if it does not within half a minute.
[[nodiscard]] bool eventually(const std::function<bool()>& condition);

}  // namespace hal::test
