// The header's protocols between the threads of one process, for ThreadSanitizer to watch: no two plain accesses race.
// What is read is checked too; the memory is one array, since ThreadSanitizer knows addresses and not pages.
//
// Usage: tsan_threads ring|board|mailbox|page TURNS
#include <pillion/shm.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

using namespace pillion;
using detail::Word;

namespace {

void expect(bool fact, const char* what) {
    if (!fact) {
        std::fprintf(stderr, "not so: %s\n", what);
        std::abort();
    }
}

constexpr std::uint64_t capacity = 4;
constexpr std::uint64_t stride = 8;
constexpr std::size_t words = stride - 2;

/// One writer laps two readers, which take whole records and count the rest.
void ring(std::uint64_t turns) {
    std::vector<Word> memory(1 + capacity * stride);
    const auto read = [&] {
        detail::Consumer reader{memory.data(), memory.data() + 1, capacity, stride};
        std::uint64_t taken = 0;
        while (reader.cursor() < turns) {
            std::array<Word, words> record{};
            std::uint64_t stamp = 0;
            std::uint64_t seen = 0;
            if (reader.take(stamp, seen, [&](const Word* from) { detail::load_words<words>(record.data(), from); })) {
                ++taken;
                for (const Word word : record) {
                    expect(word == reader.cursor() - 1 && stamp == word, "a record is whole");
                }
            } else if (reader.missed(seen) == PollStatus::empty) {
                std::this_thread::yield();
            }
        }
        expect(taken + reader.lost() == turns, "every record is read or counted as lost");
    };
    std::thread first{read};
    std::thread second{read};
    detail::Producer writer{memory.data(), memory.data() + 1, capacity, stride};
    for (std::uint64_t n = 0; n < turns; ++n) {
        std::array<Word, words> record{};
        record.fill(n);
        writer.publish(n, [&](Word* to) { detail::store_words<words>(to, record.data()); });
        if (n % 64 == 0) {
            std::this_thread::yield();
        }
    }
    first.join();
    second.join();
}

/// One writer, two readers of a cell.
void board(std::uint64_t turns) {
    std::vector<Word> cell(1 + words);
    const auto read = [&] {
        std::array<Word, words> value{};
        while (value[0] + 1 < turns) {
            if (detail::seqlock_read<words>(cell.data(), value.data()) == detail::Look::value) {
                for (const Word word : value) {
                    expect(word == value[0], "a value is whole");
                }
            } else {
                std::this_thread::yield();
                value[0] = 0;
            }
        }
    };
    std::thread first{read};
    std::thread second{read};
    for (std::uint64_t n = 0; n < turns; ++n) {
        std::array<Word, words> value{};
        value.fill(n);
        detail::seqlock_write<words>(cell.data(), value.data());
        if (n % 64 == 0) {
            std::this_thread::yield();
        }
    }
    first.join();
    second.join();
}

/// Two operators and an owner, who sets a word before each answer.
void mailbox(std::uint64_t turns) {
    Word request = 0;
    Word state = 0;
    std::array<Word, detail::answers_kept> answers{};
    const auto operate = [&] {
        for (std::uint64_t n = 0; n < turns; ++n) {
            std::uint64_t ticket = 0;
            while ((ticket = detail::ask(&request, answers.data(), Command::halt)) == 0) {
                std::this_thread::yield();
            }
            Outcome outcome{};
            while (detail::answered(answers.data(), ticket, outcome) == detail::Waiting::pending) {
                std::this_thread::yield();
            }
            expect(detail::load(&state) >= ticket, "who sees an answer sees what was done before");
        }
    };
    std::thread first{operate};
    std::thread second{operate};
    for (std::uint64_t last = 0; last < 2 * turns;) {
        const auto next = detail::waiting(&request, last);
        if (!next) {
            std::this_thread::yield();
            continue;
        }
        detail::store(&state, next->ticket);
        detail::answer(answers.data(), next->ticket, Outcome::done);
        last = next->ticket;
    }
    first.join();
    second.join();
}

/// What a release store of one word covers: the pair of the cnc page's ticks consumed.
void page(std::uint64_t turns) {
    Word consumed = 0;
    Word before = 0;
    std::thread reader{[&] {
        for (Word seen = 0; seen < turns;) {
            seen = detail::load(&consumed);
            detail::acquire_fence();
            expect(detail::load(&before) >= seen, "who sees the number sees what came before it");
            std::this_thread::yield();
        }
    }};
    for (Word n = 1; n <= turns; ++n) {
        detail::store(&before, n);
        detail::store(&consumed, n, std::memory_order_release);
    }
    reader.join();
}

} // namespace

int main(int argc, char** argv) {
    expect(argc == 3, "two arguments");
    const std::string what = argv[1];
    const auto turns = static_cast<std::uint64_t>(std::atoll(argv[2]));
    if (what == "ring") {
        ring(turns);
    } else if (what == "board") {
        board(turns);
    } else if (what == "mailbox") {
        mailbox(turns);
    } else {
        page(turns);
    }
    std::puts("done");
}
