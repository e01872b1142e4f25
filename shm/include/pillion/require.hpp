/// @file
/// What Pillion needs of the compiler, said before anything else can fail for want of it.
#pragma once

#if __cplusplus < 202002L
#error "Pillion needs C++20: compile with -std=c++20 (g++ 11 or later, clang++ 14 or later)"
#endif
#if !defined(__linux__)
#error "Pillion needs Linux: regions are files that flock, O_TMPFILE and renameat2 keep whole"
#endif
