/* Preloaded by `pillion model check`: counts what the calling thread asks of the C allocator, whoever asks. The count is read
   as the environment variable PILLION_MALLOCS, so that a reader needs no symbol of this library. Needs glibc, and no header. */
typedef unsigned long size_t;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern char **environ;

static __thread unsigned long count;
static __thread char text[24];

void *malloc(size_t size) {
    count++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    count++;
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
    count++;
    return __libc_realloc(old, size);
}

void *memalign(size_t align, size_t size) {
    count++;
    return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }

int posix_memalign(void **out, size_t align, size_t size) {
    *out = memalign(align, size);
    return *out ? 0 : 12; /* ENOMEM */
}

/* The length of what both begin with. */
static size_t same(const char *a, const char *b) {
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

char *getenv(const char *name) {
    static const char own[] = "PILLION_MALLOCS";
    size_t n = same(name, own);
    if (!name[n] && n == sizeof own - 1) {
        unsigned long left = count;
        char *at = text + sizeof text - 1;
        do
            *--at = (char)('0' + left % 10);
        while (left /= 10);
        return at;
    }
    for (char **entry = environ; entry && *entry; entry++) {
        n = same(*entry, name);
        if (!name[n] && (*entry)[n] == '=')
            return *entry + n + 1;
    }
    return 0;
}
