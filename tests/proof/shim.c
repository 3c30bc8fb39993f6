/* Stands between a process and the C library: counts the calls that change a file below watched folders, and
 * at one of them kills the process (before it, after it, half way through it) or lets it fail with an errno.
 *
 * Loaded by LD_PRELOAD, armed from inside by shim_arm (a forked child arms itself), or from outside, for a program
 * that knows nothing of it, by SHIM_AT, SHIM_MODE, SHIM_ERRNO, SHIM_ONLY and SHIM_WATCH in its environment.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT = 0, KILL_BEFORE = 1, KILL_AFTER = 2, KILL_MIDDLE = 3, FAIL_ONCE = 4, FAIL_FROM = 5 };
enum { PASS, FAIL, AFTER, HALF };
enum { TOLD_MAX = 8192, PATH_BYTES = 4096, CALL_BYTES = 256 };

static atomic_long counted;
static long at;
static int mode = -1, with_errno; /* -1: not armed */
static char watched[PATH_BYTES], only[128];
static char (*told)[CALL_BYTES];

void shim_arm(long k, int how, int number, const char *folders, const char *names) {
    if (!told) told = calloc(TOLD_MAX, CALL_BYTES);
    atomic_store(&counted, 0);
    at = k;
    with_errno = number;
    snprintf(watched, sizeof watched, "%s", folders);
    snprintf(only, sizeof only, "%s", names ? names : "");
    mode = how;
}
void shim_disarm(void) { mode = -1; }
long shim_count(void) { return atomic_load(&counted); }
const char *shim_call(long k) { return told && k >= 1 && k <= TOLD_MAX ? told[k - 1] : ""; }

__attribute__((constructor)) static void arm_from_outside(void) {
    const char *k = getenv("SHIM_AT"), *folders = getenv("SHIM_WATCH"), *number = getenv("SHIM_ERRNO");
    const char *how = getenv("SHIM_MODE");
    if (k && folders && how) shim_arm(atol(k), atoi(how), number ? atoi(number) : 0, folders, getenv("SHIM_ONLY"));
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

static int is_listed(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *found = list; (found = strstr(found, word)); found += length)
        if ((found == list || found[-1] == ',') && (found[length] == 0 || found[length] == ',')) return 1;
    return 0;
}

static int is_watched(const char *path) {
    for (const char *folder = watched; *folder;) {
        size_t length = strcspn(folder, ":");
        if (length && !strncmp(path, folder, length) && (path[length] == '/' || path[length] == 0)) return 1;
        folder += length + (folder[length] == ':');
    }
    return 0;
}

static int path_of(int descriptor, char *into) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, into, PATH_BYTES - 1);
    if (length < 0) return 0;
    into[length] = 0;
    return 1;
}

static int absolute(int folder, const char *path, char *into) {
    if (path[0] == '/') return snprintf(into, PATH_BYTES, "%s", path) < PATH_BYTES;
    if (folder == AT_FDCWD ? !getcwd(into, PATH_BYTES) : !path_of(folder, into)) return 0;
    size_t length = strlen(into);
    return (size_t)snprintf(into + length, PATH_BYTES - length, "/%s", path) < PATH_BYTES - length;
}

/* Whether this call is to pass, to fail (errno is set), or is the one to die in or after. */
static int decide(const char *name, const char *path) {
    if (mode < 0 || !is_watched(path)) return PASS;
    if (only[0] ? !is_listed(only, name) : !strcmp(name, "flock")) return PASS;
    long number = atomic_fetch_add(&counted, 1) + 1;
    if (told && number <= TOLD_MAX) snprintf(told[number - 1], CALL_BYTES, "%s %s", name, path);
    if (number == at && mode == KILL_BEFORE) die();
    if ((number == at && mode == FAIL_ONCE) || (number >= at && mode == FAIL_FROM)) {
        errno = with_errno;
        return FAIL;
    }
    if (number == at && mode == KILL_AFTER) return AFTER;
    return number == at && mode == KILL_MIDDLE ? HALF : PASS;
}

static int decide_at(const char *name, int folder, const char *path) {
    char full[PATH_BYTES];
    int kept = errno;
    int verdict = mode >= 0 && absolute(folder, path, full) ? decide(name, full) : PASS;
    if (verdict != FAIL) errno = kept;
    return verdict;
}

static int decide_fd(const char *name, int descriptor) {
    char full[PATH_BYTES];
    int kept = errno;
    int verdict = mode >= 0 && path_of(descriptor, full) ? decide(name, full) : PASS;
    if (verdict != FAIL) errno = kept;
    return verdict;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* A call with nothing between before and after. */
#define WHOLE(type, name, as, verdict_of, params, args) \
    type name params { \
        REAL(name); \
        int verdict = verdict_of; \
        if (verdict == FAIL) return -1; \
        type done = real args; \
        if (verdict != PASS) die(); \
        return done; \
    }

/* A call on so many bytes, of which half may be done. */
#define PARTLY(type, name, as, verdict_of, params, args, halved) \
    type name params { \
        REAL(name); \
        int verdict = verdict_of; \
        if (verdict == FAIL) return -1; \
        if (verdict == HALF) { \
            real halved; \
            die(); \
        } \
        type done = real args; \
        if (verdict == AFTER) die(); \
        return done; \
    }

PARTLY(ssize_t, write, write, decide_fd("write", fd), (int fd, const void *b, size_t n), (fd, b, n), (fd, b, n / 2))
PARTLY(ssize_t, pwrite, pwrite, decide_fd("pwrite", fd), (int fd, const void *b, size_t n, off_t o), (fd, b, n, o),
       (fd, b, n / 2, o))
PARTLY(ssize_t, pwrite64, pwrite, decide_fd("pwrite", fd), (int fd, const void *b, size_t n, off64_t o),
       (fd, b, n, o), (fd, b, n / 2, o))
PARTLY(ssize_t, writev, writev, decide_fd("writev", fd), (int fd, const struct iovec *v, int n), (fd, v, n),
       (fd, v, n / 2))
PARTLY(int, ftruncate, ftruncate, decide_fd("ftruncate", fd), (int fd, off_t n), (fd, n), (fd, n / 2))
PARTLY(int, ftruncate64, ftruncate, decide_fd("ftruncate", fd), (int fd, off64_t n), (fd, n), (fd, n / 2))
PARTLY(int, fallocate, fallocate, decide_fd("fallocate", fd), (int fd, int m, off_t o, off_t n), (fd, m, o, n),
       (fd, m, o, n / 2))
PARTLY(int, fallocate64, fallocate, decide_fd("fallocate", fd), (int fd, int m, off64_t o, off64_t n),
       (fd, m, o, n), (fd, m, o, n / 2))
PARTLY(ssize_t, sendfile, sendfile, decide_fd("sendfile", fd), (int fd, int from, off_t *o, size_t n),
       (fd, from, o, n), (fd, from, o, n / 2))
PARTLY(ssize_t, sendfile64, sendfile, decide_fd("sendfile", fd), (int fd, int from, off64_t *o, size_t n),
       (fd, from, o, n), (fd, from, o, n / 2))
PARTLY(ssize_t, copy_file_range, copy_file_range, decide_fd("copy_file_range", fd),
       (int from, off64_t *i, int fd, off64_t *o, size_t n, unsigned f), (from, i, fd, o, n, f),
       (from, i, fd, o, n / 2, f))

/* These two return the error instead of setting errno. */
#define RESERVE(name, offset) \
    int name(int fd, offset o, offset n) { \
        REAL(name); \
        int verdict = decide_fd("posix_fallocate", fd); \
        if (verdict == FAIL) return with_errno; \
        int done = real(fd, o, verdict == HALF ? (n + 1) / 2 : n); \
        if (verdict != PASS) die(); \
        return done; \
    }
RESERVE(posix_fallocate, off_t)
RESERVE(posix_fallocate64, off64_t)

WHOLE(int, rename, rename, decide_at("rename", AT_FDCWD, to), (const char *from, const char *to), (from, to))
WHOLE(int, renameat, rename, decide_at("rename", d, to), (int s, const char *from, int d, const char *to),
      (s, from, d, to))
WHOLE(int, renameat2, rename, decide_at("rename", d, to),
      (int s, const char *from, int d, const char *to, unsigned f), (s, from, d, to, f))
WHOLE(int, link, link, decide_at("link", AT_FDCWD, to), (const char *from, const char *to), (from, to))
WHOLE(int, linkat, link, decide_at("link", d, to), (int s, const char *from, int d, const char *to, int f),
      (s, from, d, to, f))
WHOLE(int, symlink, symlink, decide_at("symlink", AT_FDCWD, to), (const char *from, const char *to), (from, to))
WHOLE(int, symlinkat, symlink, decide_at("symlink", d, to), (const char *from, int d, const char *to),
      (from, d, to))
WHOLE(int, unlink, unlink, decide_at("unlink", AT_FDCWD, path), (const char *path), (path))
WHOLE(int, unlinkat, unlink, decide_at("unlink", d, path), (int d, const char *path, int f), (d, path, f))
WHOLE(int, rmdir, rmdir, decide_at("rmdir", AT_FDCWD, path), (const char *path), (path))
WHOLE(int, mkdir, mkdir, decide_at("mkdir", AT_FDCWD, path), (const char *path, mode_t m), (path, m))
WHOLE(int, mkdirat, mkdir, decide_at("mkdir", d, path), (int d, const char *path, mode_t m), (d, path, m))
WHOLE(int, fsync, fsync, decide_fd("fsync", fd), (int fd), (fd))
WHOLE(int, fdatasync, fdatasync, decide_fd("fdatasync", fd), (int fd), (fd))
WHOLE(int, flock, flock, decide_fd("flock", fd), (int fd, int how), (fd, how))
WHOLE(int, fchmod, fchmod, decide_fd("fchmod", fd), (int fd, mode_t m), (fd, m))
WHOLE(int, chmod, chmod, decide_at("chmod", AT_FDCWD, path), (const char *path, mode_t m), (path, m))
WHOLE(int, futimens, utime, decide_fd("utime", fd), (int fd, const struct timespec t[2]), (fd, t))
WHOLE(int, utimensat, utime, decide_at("utime", d, path), (int d, const char *path, const struct timespec t[2], int f),
      (d, path, t, f))

/* Which file a mapping belongs to nobody can tell from its address here: it counts where anything is watched. */
int msync(void *start, size_t length, int flags) {
    REAL(msync);
    char first[PATH_BYTES];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(watched, ":"), watched);
    int verdict = mode >= 0 ? decide("msync", first) : PASS;
    if (verdict == FAIL) return -1;
    int done = real(start, length, flags);
    if (verdict != PASS) die();
    return done;
}

/* Opening counts where it may make a file. */
#define OPENING(name, folder, params, before) \
    int name params { \
        REAL(name); \
        mode_t m = 0; \
        if (flags & (O_CREAT | __O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            m = va_arg(more, mode_t); \
            va_end(more); \
        } \
        int verdict = flags & O_CREAT ? decide_at("open", folder, path) : PASS; \
        if (verdict == FAIL) return -1; \
        int done = real before; \
        if (verdict != PASS) die(); \
        return done; \
    }
OPENING(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, m))
OPENING(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, m))
OPENING(openat, d, (int d, const char *path, int flags, ...), (d, path, flags, m))
OPENING(openat64, d, (int d, const char *path, int flags, ...), (d, path, flags, m))
WHOLE(int, creat, open, decide_at("open", AT_FDCWD, path), (const char *path, mode_t m), (path, m))
WHOLE(int, creat64, open, decide_at("open", AT_FDCWD, path), (const char *path, mode_t m), (path, m))
