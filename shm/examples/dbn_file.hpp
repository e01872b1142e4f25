/// @file
/// What a feed needs of a .dbn file (Databento's format, version 1 to 3, not compressed): its market data records.
#pragma once

#include "args.hpp"

#include <pillion/records.hpp>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <span>

/// Bytes of a record of this type; 0 for those that a tick ring does not carry (definitions, mappings, statistics).
/// These five are the same bytes in DBN 1, 2 and 3; all that changed between the versions is among the others.
[[nodiscard]] inline std::size_t carried_bytes(std::uint8_t type) {
    switch (type) {
    case pillion::rtype::mbo: return sizeof(pillion::MboMsg);
    case pillion::rtype::mbp_1: return sizeof(pillion::Mbp1Msg);
    case pillion::rtype::mbp_10: return sizeof(pillion::Mbp10Msg);
    case pillion::rtype::trade: return sizeof(pillion::TradeMsg);
    case pillion::rtype::status: return sizeof(pillion::StatusMsg);
    default: return 0;
    }
}

/// One record's bytes, and what a feed asks of it.
struct DbnRecord {
    std::span<const std::byte> bytes;

    [[nodiscard]] pillion::RecordHeader header() const {
        pillion::RecordHeader header;
        std::memcpy(&header, bytes.data(), sizeof header);
        return header;
    }

    /// Whether it belongs to a snapshot: the state of the book before the first live record.
    [[nodiscard]] bool snapshot() const {
        const std::uint8_t type = header().rtype;
        const std::size_t at =
            type == pillion::rtype::mbo ? offsetof(pillion::MboMsg, flags) : offsetof(pillion::TradeMsg, flags);
        return type != pillion::rtype::status &&
               (std::to_integer<std::uint8_t>(bytes[at]) & pillion::record_flags::snapshot) != 0;
    }
};

/// A file in memory. Whatever is wrong with it ends the program before a record is published.
class DbnFile {
public:
    [[nodiscard]] static DbnFile load(const std::string& path) {
        DbnFile file{path};
        file.read();
        for (std::size_t at = file.read_metadata(); at < file.bytes_.size();) {
            at += file.read_record(at);
        }
        return file;
    }

    [[nodiscard]] int version() const { return version_; }
    [[nodiscard]] const std::string& dataset() const { return dataset_; }
    /// The records that a ring carries, in file order.
    [[nodiscard]] const std::vector<DbnRecord>& records() const { return records_; }
    /// Bytes of the longest of them.
    [[nodiscard]] std::size_t longest() const { return longest_; }
    /// Records of other types, left out.
    [[nodiscard]] std::uint64_t others() const { return others_; }

private:
    explicit DbnFile(std::string path) : path_{std::move(path)} {}

    [[noreturn]] void refuse(const std::string& why) const { die(path_ + " " + why, 2); }

    void read() {
        std::ifstream in{path_, std::ios::binary | std::ios::ate};
        if (!in) {
            refuse("cannot be opened; mend: give the path of a .dbn file");
        }
        bytes_.resize(static_cast<std::size_t>(in.tellg()));
        in.seekg(0).read(reinterpret_cast<char*>(bytes_.data()), static_cast<std::streamsize>(bytes_.size()));
        if (!in || !starts_with("DBN") || bytes_.size() < 24) {
            refuse(starts_with("\x28\xB5\x2F\xFD")
                       ? "is compressed; mend: `pillion convert dbn` or `zstd -d` makes a plain file of it"
                       : "is no DBN file; mend: give one of version 1 to 3");
        }
    }

    [[nodiscard]] bool starts_with(const char* magic) const {
        return bytes_.size() >= std::strlen(magic) && std::memcmp(bytes_.data(), magic, std::strlen(magic)) == 0;
    }

    /// Returns where the first record stands: 8 bytes of magic, version and length, then the metadata.
    std::size_t read_metadata() {
        version_ = std::to_integer<int>(bytes_[3]);
        std::uint32_t length = 0;
        std::memcpy(&length, bytes_.data() + 4, sizeof length);
        if (version_ < 1 || version_ > 3) {
            refuse("is DBN version " + std::to_string(version_) + "; mend: give one of version 1 to 3");
        }
        if (length > bytes_.size() - 8) {
            refuse("ends inside its metadata; mend: fetch the file again");
        }
        const auto* dataset = reinterpret_cast<const char*>(bytes_.data() + 8);
        dataset_.assign(dataset, ::strnlen(dataset, 16));
        return 8 + length;
    }

    /// Takes the record at byte `at` and returns its length.
    std::size_t read_record(std::size_t at) {
        const std::size_t left = bytes_.size() - at;
        const std::size_t length = 4 * std::to_integer<std::size_t>(bytes_[at]); // Its first byte counts 4-byte words.
        const bool whole = length >= sizeof(pillion::RecordHeader) && length <= left;
        const std::size_t carried = whole ? carried_bytes(std::to_integer<std::uint8_t>(bytes_[at + 1])) : 0;
        if (!whole || length < carried) {
            refuse("is broken at byte " + std::to_string(at) + ": a record of " + std::to_string(length) +
                   " bytes, where " + std::to_string(left) + " are left" +
                   (whole ? " and its type has " + std::to_string(carried) : "") +
                   "; mend: fetch the file again, half a file is not published");
        }
        if (carried == 0) {
            ++others_;
            return length;
        }
        // A live capture appends its own sending time to each record: it goes, and the length says so.
        bytes_[at] = static_cast<std::byte>(carried / 4);
        records_.push_back({std::span{bytes_}.subspan(at, carried)});
        longest_ = std::max(longest_, carried);
        return length;
    }

    std::string path_;
    int version_ = 0;
    std::string dataset_;
    std::vector<std::byte> bytes_; ///< Never resized once records_ points into it; a move keeps it where it is.
    std::vector<DbnRecord> records_;
    std::size_t longest_ = 0;
    std::uint64_t others_ = 0;
};
