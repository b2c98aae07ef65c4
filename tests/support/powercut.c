/*
 * What a power cut could take away from a program, kept beside it: a library for LD_PRELOAD that logs
 * each write, truncation, creation, rename and removal below a folder until fsync or fdatasync of that
 * file, or fsync of that folder. After the program was killed, tests/support/powercut.py undoes some or
 * all of what is still in the log.
 *
 *	POWERCUT_FOLDER	the folder; POWERCUT_LOG the log's, in the same file system and not below it
 *	writes-INODE	of a file: entries, oldest first; emptied when the file is synced
 *	names-INODE	of a folder, likewise
 *	saved-INODE/N	what a rename or removal in that folder replaced, as hard links
 *
 * With POWERCUT_LIE=1 a sync of a file is answered and not done, as by a disk that lies: whoever checks
 * for losses must then find some.
 *
 * io_uring is refused, since its writes cannot be seen here. Nor can those through memory maps and
 * stdio, whose calls inside libc go past this library. An entry is written before the act that it
 * describes, so that a kill between the two leaves an entry that changes nothing when undone.
 */
#undef _FORTIFY_SOURCE /* its inline functions have the names that are defined here */
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_BYTES 1200u /* a longer one ends the program */

enum kind {
	KIND_WRITE = 1,    /* bytes: those before, then those after */
	KIND_TRUNCATE = 2, /* offset: the new size; bytes: those cut off */
	KIND_CREATE = 3,   /* names */
	KIND_RENAME = 4,
	KIND_REMOVE = 5,
	KIND_MKDIR = 6,
	KIND_SYNC = 7, /* offset: entries that begin before it, in the log, need no undoing */
};

/* Little-endian on all that this runs on; powercut.py reads it. */
struct entry {
	uint32_t kind;
	uint32_t before_bytes; /* of what follows; names: of the first path */
	uint32_t after_bytes;  /* names: of the second path */
	uint32_t saved;        /* number of the hard link; 0: none */
	uint64_t offset;
	uint64_t size; /* of the file before */
};

static char folder[PATH_BYTES];
static char log_folder[PATH_BYTES];
static bool lies;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void fork_child(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* another thread may have held it */
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	abort(); /* a log with a hole would make a test pass that should not */
}

/* With links followed. */
static bool real(const char *path, char ret_path[PATH_BYTES])
{
	char *found = realpath(path, NULL);

	if (found && strlen(found) >= PATH_BYTES)
		die("powercut: %s is too long\n", found);
	if (found)
		(void)strcpy(ret_path, found);
	free(found);
	return found != NULL;
}

__attribute__((constructor)) static void start(void)
{
	const char *name = getenv("POWERCUT_FOLDER");
	const char *log_name = getenv("POWERCUT_LOG");

	if (name && log_name && (!real(name, folder) || !real(log_name, log_folder)))
		die("powercut: %s or %s: %s\n", name, log_name, strerror(errno));
	lies = getenv("POWERCUT_LIE") != NULL;
	(void)pthread_atfork(NULL, NULL, fork_child);
}

static bool below(const char *path)
{
	size_t size = strlen(folder);

	return size > 0 && strncmp(path, folder, size) == 0 &&
	       (path[size] == '/' || path[size] == '\0');
}

static bool fd_path(int fd, char ret_path[PATH_BYTES])
{
	char link_path[64];
	ssize_t size;

	(void)snprintf(link_path, sizeof(link_path), "/proc/self/fd/%d", fd);
	size = readlink(link_path, ret_path, PATH_BYTES - 1);
	if (size < 0)
		return false;
	ret_path[size] = '\0';
	return true;
}

/* The file's real name with its parent's links followed; false: not below the folder. */
static bool resolve(int at, const char *path, char ret_path[PATH_BYTES])
{
	char joined[2 * PATH_BYTES];
	char base[PATH_BYTES] = ".";
	char *slash;
	int saved_errno = errno;
	bool good = folder[0] != '\0';

	if (good && path[0] != '/' && at != AT_FDCWD)
		good = fd_path(at, base);
	if (good) {
		(void)snprintf(joined, sizeof(joined), "%s/%s", path[0] == '/' ? "" : base, path);
		slash = strrchr(joined, '/');
		*slash = '\0';
		good = real(joined[0] ? joined : "/", ret_path) &&
		       strlen(ret_path) + strlen(slash + 1) + 2 < PATH_BYTES;
		if (good) {
			(void)strcat(ret_path, "/");
			(void)strcat(ret_path, slash + 1);
			good = below(ret_path);
		}
	}
	errno = saved_errno;
	return good;
}

/* A regular file below the folder? */
static bool watched(int fd, struct stat *ret_status)
{
	char path[PATH_BYTES];
	int saved_errno = errno;
	bool good = folder[0] != '\0' && fstat(fd, ret_status) == 0 &&
		    S_ISREG(ret_status->st_mode) && fd_path(fd, path) && below(path);

	errno = saved_errno;
	return good;
}

static int log_open(const char *what, ino_t inode)
{
	char path[2 * PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/%s-%ju", log_folder, what, (uintmax_t)inode);
	return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC,
			    0600);
}

/* One write, so that a kill leaves an entry or none, or one whose end is missing. */
static void log_append(const char *what, ino_t inode, const struct entry *entry, const void *before,
		       const void *after)
{
	size_t size = sizeof(*entry) + entry->before_bytes + entry->after_bytes;
	uint8_t *bytes = malloc(size);
	int fd = log_open(what, inode);

	if (!bytes || fd < 0)
		die("powercut: no log for inode %ju: %s\n", (uintmax_t)inode, strerror(errno));
	memcpy(bytes, entry, sizeof(*entry));
	if (entry->before_bytes > 0)
		memcpy(bytes + sizeof(*entry), before, entry->before_bytes);
	if (entry->after_bytes > 0)
		memcpy(bytes + sizeof(*entry) + entry->before_bytes, after, entry->after_bytes);
	if (syscall(SYS_write, fd, bytes, size) != (long)size)
		die("powercut: the log cannot be written: %s\n", strerror(errno));
	(void)close(fd);
	free(bytes);
}

static off_t log_size(const char *what, ino_t inode)
{
	struct stat status = {0};
	char path[2 * PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/%s-%ju", log_folder, what, (uintmax_t)inode);
	return stat(path, &status) == 0 ? status.st_size : 0;
}

static void log_remove(const char *what, ino_t inode)
{
	char path[2 * PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/%s-%ju", log_folder, what, (uintmax_t)inode);
	(void)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* -- contents -- */

/* The file's bytes in [offset, offset + size), as far as it goes. Heap. `fd` may be write-only. */
static uint8_t *bytes_of(int fd, off_t offset, size_t size, uint32_t *ret_size)
{
	char path[64];
	uint8_t *bytes = malloc(size > 0 ? size : 1);
	ssize_t got;
	int reader;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	got = bytes && reader >= 0 ? syscall(SYS_pread64, reader, bytes, size, offset) : -1;
	if (got < 0)
		die("powercut: the bytes before a write cannot be read: %s\n", strerror(errno));
	(void)close(reader);
	*ret_size = (uint32_t)got;
	return bytes;
}

static ssize_t logged_write(int fd, const void *bytes, size_t size, off_t offset, bool seek)
{
	struct stat status;
	struct entry entry = {.kind = KIND_WRITE, .after_bytes = (uint32_t)size};
	uint8_t *before;
	ssize_t put;

	if (!watched(fd, &status))
		return seek ? syscall(SYS_pwrite64, fd, bytes, size, offset)
			    : syscall(SYS_write, fd, bytes, size);
	(void)pthread_mutex_lock(&lock); /* a sync that begins later covers it, and not before */
	if (!seek)                       /* no file here is appended to by two processes */
		offset = fcntl(fd, F_GETFL) & O_APPEND ? status.st_size : lseek(fd, 0, SEEK_CUR);
	entry.offset = (uint64_t)offset;
	entry.size = (uint64_t)status.st_size;
	before = bytes_of(fd, offset, size, &entry.before_bytes);
	log_append("writes", status.st_ino, &entry, before, bytes);
	free(before);
	put = seek ? syscall(SYS_pwrite64, fd, bytes, size, offset)
		   : syscall(SYS_write, fd, bytes, size);
	(void)pthread_mutex_unlock(&lock);
	return put;
}

static void log_size_change(int fd, const struct stat *status, off_t size)
{
	struct entry entry = {
		.kind = KIND_TRUNCATE, .offset = (uint64_t)size, .size = (uint64_t)status->st_size};
	uint8_t *before = NULL;

	if (size < status->st_size)
		before = bytes_of(fd, size, (size_t)(status->st_size - size), &entry.before_bytes);
	log_append("writes", status->st_ino, &entry, before, NULL);
	free(before);
}

static int logged_sync(int fd, long call)
{
	struct stat status;
	char path[PATH_BYTES];
	const char *what;
	off_t before;
	int result;

	if (folder[0] == '\0' || fstat(fd, &status) < 0 || !fd_path(fd, path) || !below(path))
		return (int)syscall(call, fd);
	what = S_ISDIR(status.st_mode) ? "names" : "writes";
	if (lies && !S_ISDIR(status.st_mode))
		return 0;
	(void)pthread_mutex_lock(&lock);
	before = log_size(what, status.st_ino);
	(void)pthread_mutex_unlock(&lock);
	result = (int)syscall(call, fd);
	if (result != 0)
		return result;
	(void)pthread_mutex_lock(&lock);
	if (log_size(what, status.st_ino) == before)
		log_remove(what, status.st_ino);
	else /* others went on meanwhile */
		log_append(what, status.st_ino,
			   &(struct entry){.kind = KIND_SYNC, .offset = (uint64_t)before}, NULL,
			   NULL);
	(void)pthread_mutex_unlock(&lock);
	return 0;
}

/* -- names -- */

static ino_t parent_of(const char *path)
{
	char parent[PATH_BYTES];
	struct stat status;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	*strrchr(parent, '/') = '\0';
	if (stat(parent, &status) < 0)
		die("powercut: %s: %s\n", parent, strerror(errno));
	return status.st_ino;
}

/* Keeps what stands at the path. The links stay until the log's folder is removed: while they do, no
 * new file takes such an inode's number. Returns its number. */
static uint32_t save(const char *path, ino_t parent)
{
	static uint32_t number;
	char saved[2 * PATH_BYTES];
	int result;

	if (access(path, F_OK) != 0)
		return 0;
	(void)snprintf(saved, sizeof(saved), "%s/saved-%ju", log_folder, (uintmax_t)parent);
	(void)syscall(SYS_mkdirat, AT_FDCWD, saved, 0700);
	do {
		(void)snprintf(saved, sizeof(saved), "%s/saved-%ju/%u", log_folder,
			       (uintmax_t)parent, ++number);
		result = (int)syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, saved, 0);
	} while (result < 0 && errno == EEXIST);
	if (result < 0)
		die("powercut: %s cannot be kept as %s: %s\n", path, saved, strerror(errno));
	return number;
}

static void log_name(enum kind kind, const char *path, const char *to)
{
	struct entry entry = {.kind = (uint32_t)kind,
			      .before_bytes = (uint32_t)strlen(path),
			      .after_bytes = to ? (uint32_t)strlen(to) : 0};
	const char *last = to ? to : path;
	ino_t parent = parent_of(last);
	int saved_errno = errno;

	if (kind == KIND_RENAME || kind == KIND_REMOVE)
		entry.saved = save(last, parent);
	log_append("names", parent, &entry, path, to);
	errno = saved_errno;
}

static int logged_open(int at, const char *path, int flags, mode_t mode)
{
	char name[PATH_BYTES];
	struct stat status;
	int fd;

	if (!(flags & (O_CREAT | O_TRUNC)) || !resolve(at, path, name))
		return (int)syscall(SYS_openat, at, path, flags, mode);
	(void)pthread_mutex_lock(&lock);
	if (lstat(name, &status) < 0) {
		if (flags & O_CREAT)
			log_name(KIND_CREATE, name, NULL);
	} else if ((flags & O_TRUNC) && S_ISREG(status.st_mode)) {
		fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
		if (fd >= 0) {
			log_size_change(fd, &status, 0);
			(void)close(fd);
		}
	}
	fd = (int)syscall(SYS_openat, at, path, flags, mode);
	(void)pthread_mutex_unlock(&lock);
	return fd;
}

static int logged_rename(int from_at, const char *from, int to_at, const char *to)
{
	char name_from[PATH_BYTES];
	char name_to[PATH_BYTES];
	int result;

	(void)pthread_mutex_lock(&lock);
	if (resolve(from_at, from, name_from) && resolve(to_at, to, name_to) &&
	    access(name_from, F_OK) == 0)
		log_name(KIND_RENAME, name_from, name_to);
	result = (int)syscall(SYS_renameat2, from_at, from, to_at, to, 0);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

static int logged_remove(int at, const char *path, int flags)
{
	char name[PATH_BYTES];
	int result;

	(void)pthread_mutex_lock(&lock);
	if (!(flags & AT_REMOVEDIR) && resolve(at, path, name) && access(name, F_OK) == 0)
		log_name(KIND_REMOVE, name, NULL);
	result = (int)syscall(SYS_unlinkat, at, path, flags);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

/* -- the names under which programs call this -- */

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int io_uring_queue_init(unsigned int entries, void *ring, unsigned int flags);
int io_uring_queue_init_params(unsigned int entries, void *ring, void *parameters);

static mode_t mode_of(int flags, va_list args)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = mode_of(flags, args);                                                       \
		va_end(args);                                                                      \
		return logged_open(AT_FDCWD, path, flags, mode);                                   \
	}
#define OPENAT(name)                                                                               \
	int name(int at, const char *path, int flags, ...)                                         \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = mode_of(flags, args);                                                       \
		va_end(args);                                                                      \
		return logged_open(at, path, flags, mode);                                         \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int __open_2(const char *path, int flags)
{
	return logged_open(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return logged_open(AT_FDCWD, path, flags, 0);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
	return logged_write(fd, bytes, size, 0, false);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	return logged_write(fd, bytes, size, offset, true);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
	return logged_write(fd, bytes, size, offset, true);
}

int ftruncate(int fd, off_t size)
{
	struct stat status;
	int result;

	(void)pthread_mutex_lock(&lock);
	if (watched(fd, &status))
		log_size_change(fd, &status, size);
	result = (int)syscall(SYS_ftruncate, fd, size);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

int truncate(const char *path, off_t size)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	int result = fd < 0 ? -1 : ftruncate(fd, size);

	if (fd >= 0)
		(void)close(fd);
	return result;
}

int truncate64(const char *path, off64_t size)
{
	return truncate(path, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	struct stat status;
	int result;

	(void)pthread_mutex_lock(&lock);
	if (watched(fd, &status)) {
		if (mode != 0)
			die("powercut: fallocate mode %d is not followed\n", mode);
		if (offset + size > status.st_size)
			log_size_change(fd, &status, offset + size);
	}
	result = (int)syscall(SYS_fallocate, fd, mode, offset, size);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
	return fallocate(fd, mode, offset, size);
}

int fsync(int fd)
{
	return logged_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return logged_sync(fd, SYS_fdatasync);
}

int rename(const char *from, const char *to)
{
	return logged_rename(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
	return logged_rename(from_at, from, to_at, to);
}

int link(const char *from, const char *to)
{
	char name[PATH_BYTES];
	int result;

	(void)pthread_mutex_lock(&lock);
	if (resolve(AT_FDCWD, to, name) && access(name, F_OK) != 0)
		log_name(KIND_CREATE, name, NULL);
	result = (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

int unlink(const char *path)
{
	return logged_remove(AT_FDCWD, path, 0);
}

int unlinkat(int at, const char *path, int flags)
{
	return logged_remove(at, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
	char name[PATH_BYTES];
	int result;

	(void)pthread_mutex_lock(&lock);
	if (resolve(AT_FDCWD, path, name) && access(name, F_OK) != 0)
		log_name(KIND_MKDIR, name, NULL);
	result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	(void)pthread_mutex_unlock(&lock);
	return result;
}

int io_uring_queue_init(unsigned int entries, void *ring, unsigned int flags)
{
	(void)entries;
	(void)ring;
	(void)flags;
	return -ENOSYS;
}

int io_uring_queue_init_params(unsigned int entries, void *ring, void *parameters)
{
	(void)entries;
	(void)ring;
	(void)parameters;
	return -ENOSYS;
}
