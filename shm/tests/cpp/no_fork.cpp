// A system that makes no more processes: loaded before the C library, its fork() always fails.
#include <cerrno>
#include <sys/types.h>

extern "C" pid_t fork() {
    errno = EAGAIN;
    return -1;
}
