/* The keeper's folder: plain files, each replaced whole. Bytes to be thrown away are handed to
 * find(1), which walks a tree that its owner may still be changing safely, and beside the keeper.
 */
#include "agent/keeper/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/loop.h"
#include "proto/base/check.h"

#define FENCE_BYTES 24u

void gw_store_name(const struct gw_attempt_id *id, char *ret_name)
{
	char job[GW_ID_TEXT_BYTES];

	gw_id_format_hex(id->job.id, job);
	(void)snprintf(ret_name, GW_STORE_NAME_BYTES, "%s.%" PRIu32 ".%" PRIu32, job,
		       id->task_index, id->attempt);
}

bool gw_store_parse_name(const char *name, struct gw_attempt_id *ret_id)
{
	char job[GW_ID_TEXT_BYTES];
	char again[GW_STORE_NAME_BYTES];
	struct gw_attempt_id id = {0};

	if (sscanf(name, "%32[0-9a-f].%" SCNu32 ".%" SCNu32, job, &id.task_index, &id.attempt) !=
		    3 ||
	    !gw_id_parse_hex(job, &id.job.id))
		return false;
	gw_store_name(&id, again);
	if (strcmp(name, again) != 0)
		return false;
	*ret_id = id;
	return true;
}

static int make_folder(int parent_fd, const char *name, mode_t mode)
{
	int fd;

	if (mkdirat(parent_fd, name, mode) && errno != EEXIST)
		return -errno;
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Starts find on what is in trash, one at a time; gw_store_reaped hears of its end. */
static void empty_trash(struct gw_store *store)
{
	sigset_t none;
	pid_t pid;

	store->empty_again = store->emptying > 0;
	if (store->empty_again)
		return;
	pid = fork();
	if (pid) {
		store->emptying = pid > 0 ? pid : 0; /* a failure leaves it for the next time */
		return;
	}
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (fchdir(store->trash_fd) == 0)
		(void)execlp("nice", "nice", "find", ".", "-xdev", "-mindepth", "1", "-delete",
			     (char *)NULL);
	_exit(127);
}

static int open_root(struct gw_store *store, const char *path, char *ret_error, size_t error_size)
{
	struct stat stat;

	if (mkdir(path, 0700) && errno != EEXIST) {
		int result = -errno;

		(void)snprintf(ret_error, error_size, "%s cannot be made: %s", path,
			       strerrordesc_np(-result));
		return result;
	}
	store->folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->folder_fd < 0 || fstat(store->folder_fd, &stat)) {
		int result = -errno;

		(void)snprintf(ret_error, error_size, "%s cannot be opened: %s", path,
			       strerrordesc_np(-result));
		return result;
	}
	if (stat.st_uid != geteuid() || (stat.st_mode & 0066)) {
		(void)snprintf(ret_error, error_size,
			       "%s must belong to the keeper's user and be closed to others "
			       "(mode 0700), but has owner %u and mode %04o",
			       path, stat.st_uid, stat.st_mode & 07777);
		return -EPERM;
	}
	store->device = stat.st_dev;
	store->inode = stat.st_ino;
	return 0;
}

static int take_lock(struct gw_store *store, const char *path, char *ret_error, size_t error_size)
{
	char pid[16];
	int size = snprintf(pid, sizeof(pid), "%d\n", getpid());

	store->lock_fd = openat(store->folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock_fd < 0 || flock(store->lock_fd, LOCK_EX | LOCK_NB)) {
		int result = errno == EWOULDBLOCK ? -EBUSY : -errno;

		if (result == -EBUSY)
			(void)snprintf(ret_error, error_size, "%s is held by another keeper", path);
		else
			(void)snprintf(ret_error, error_size, "%s/lock cannot be taken: %s", path,
				       strerrordesc_np(-result));
		return result;
	}
	/* For people only: the lock is what counts. */
	if (!ftruncate(store->lock_fd, 0))
		(void)!pwrite(store->lock_fd, pid, (size_t)size, 0);
	return 0;
}

int gw_store_open(struct gw_store *store, const char *path, char *ret_error, size_t error_size)
{
	/* A task under another user must be able to pass through to its working folder. */
	mode_t pass = geteuid() == 0 ? 0711 : 0700;
	int result;

	*store = (struct gw_store){-1, -1, -1, -1, -1, -1, 0, 0, false, 0, 0};
	result = open_root(store, path, ret_error, error_size);
	if (!result)
		result = take_lock(store, path, ret_error, error_size);
	if (result) {
		gw_store_close(store);
		return result;
	}
	store->attempts_fd = make_folder(store->folder_fd, "attempts", 0700);
	store->work_fd = make_folder(store->folder_fd, "work", pass);
	store->trash_fd = make_folder(store->folder_fd, "trash", 0700);
	store->fences_fd =
		openat(store->folder_fd, "fences", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (store->attempts_fd < 0 || store->work_fd < 0 || store->trash_fd < 0 ||
	    store->fences_fd < 0 || fchmod(store->folder_fd, pass) ||
	    fchmod(store->work_fd, pass)) {
		(void)snprintf(ret_error, error_size, "%s cannot be used: %s", path,
			       strerrordesc_np(errno));
		gw_store_close(store);
		return -EIO;
	}
	empty_trash(store);
	return 0;
}

void gw_store_close(struct gw_store *store)
{
	int fds[] = {store->fences_fd,   store->trash_fd, store->work_fd,
		     store->attempts_fd, store->lock_fd,  store->folder_fd};

	for (size_t i = 0; i < GW_ARRAY_COUNT(fds); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	*store = (struct gw_store){-1, -1, -1, -1, -1, -1, 0, 0, false, 0, 0};
}

int gw_store_make(struct gw_store *store, const struct gw_attempt_id *id)
{
	char name[GW_STORE_NAME_BYTES];
	int fd;

	gw_store_name(id, name);
	fd = make_folder(store->attempts_fd, name, 0700);
	if (fd >= 0 && fsync(store->attempts_fd)) {
		int result = -errno;

		(void)close(fd);
		return result;
	}
	return fd;
}

int gw_store_open_attempt(const struct gw_store *store, const struct gw_attempt_id *id)
{
	char name[GW_STORE_NAME_BYTES];
	int fd;

	gw_store_name(id, name);
	fd = openat(store->attempts_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int gw_store_make_work(struct gw_store *store, const struct gw_attempt_id *id)
{
	char name[GW_STORE_NAME_BYTES];

	gw_store_name(id, name);
	return make_folder(store->work_fd, name, 0700);
}

static int write_whole(int folder_fd, const char *temporary, const char *name, const uint8_t *bytes,
		       size_t size)
{
	int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			0600);
	int result = 0;
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (!result && done < size) {
		ssize_t count = write(fd, bytes + done, size - done);

		if (count < 0 && errno != EINTR)
			result = -errno;
		else if (count > 0)
			done += (size_t)count;
	}
	if (!result && (ftruncate(fd, (off_t)size) || fsync(fd)))
		result = -errno;
	(void)close(fd);
	if (!result && renameat(folder_fd, temporary, folder_fd, name))
		result = -errno;
	if (!result && fsync(folder_fd))
		result = -errno;
	return result;
}

int gw_store_write(int attempt_fd, const uint8_t *record, size_t size)
{
	return write_whole(attempt_fd, "record.new", "record", record, size);
}

int gw_store_reserve(int attempt_fd, size_t size)
{
	int fd =
		openat(attempt_fd, "record.new", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int result;

	if (fd < 0)
		return -errno;
	result = fallocate(fd, 0, 0, (off_t)size) ? -errno : 0;
	(void)close(fd);
	return result == -EOPNOTSUPP ? 0 : result; /* then the retries have to do */
}

int gw_store_read(int attempt_fd, uint8_t *ret_record, size_t *ret_size)
{
	int fd = openat(attempt_fd, "record", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t count;
	int result = 0;

	if (fd < 0)
		return -errno;
	count = read(fd, ret_record, GW_STORE_RECORD_BYTES_MAX);
	if (count < 0)
		result = -errno;
	else
		*ret_size = (size_t)count;
	(void)close(fd);
	return result;
}

static int discard(struct gw_store *store, int parent_fd, const char *name)
{
	char trash[48];

	/* A name that neither this keeper nor an earlier one uses now. */
	(void)snprintf(trash, sizeof(trash), "%" PRId64 ".%" PRIu64, gw_loop_wall_us(),
		       ++store->trash_count);
	if (renameat(parent_fd, name, store->trash_fd, trash) && errno != ENOENT)
		return -errno;
	return 0;
}

int gw_store_remove(struct gw_store *store, const struct gw_attempt_id *id)
{
	char name[GW_STORE_NAME_BYTES];
	int result;

	gw_store_name(id, name);
	result = discard(store, store->work_fd, name);
	if (!result)
		result = discard(store, store->attempts_fd, name);
	if (!result && fsync(store->attempts_fd))
		result = -errno;
	if (!result)
		empty_trash(store);
	return result;
}

void gw_store_reaped(struct gw_store *store, pid_t pid)
{
	if (pid != store->emptying)
		return;
	store->emptying = 0;
	if (store->empty_again)
		empty_trash(store);
}

bool gw_store_gone(const struct gw_store *store)
{
	struct stat stat;

	return fstat(store->folder_fd, &stat) == 0 && stat.st_nlink == 0;
}

int gw_store_each(const struct gw_store *store,
		  void (*found)(void *data, const struct gw_attempt_id *id), void *data)
{
	int fd = openat(store->attempts_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!folder) {
		int result = -errno;

		if (fd >= 0)
			(void)close(fd);
		return result;
	}
	while ((entry = readdir(folder))) {
		struct gw_attempt_id id;

		if (gw_store_parse_name(entry->d_name, &id))
			found(data, &id);
	}
	(void)closedir(folder);
	return 0;
}

static void put_u32(uint8_t *bytes, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static void put_fence(uint8_t *bytes, const struct gw_attempt_id *id)
{
	memcpy(bytes, id->job.id.bytes, GW_ID_BYTES);
	put_u32(bytes + 16, id->task_index);
	put_u32(bytes + 20, id->attempt);
}

int gw_store_fence(struct gw_store *store, const struct gw_attempt_id *id)
{
	uint8_t bytes[FENCE_BYTES];
	struct stat stat;
	ssize_t count;

	put_fence(bytes, id);
	if (fstat(store->fences_fd, &stat))
		return -errno;
	/* Over what a full disk left of an entry: one that is torn would shift all after it. */
	count = pwrite(store->fences_fd, bytes, sizeof(bytes),
		       stat.st_size - stat.st_size % (off_t)FENCE_BYTES);
	if (count == (ssize_t)sizeof(bytes))
		return fdatasync(store->fences_fd) ? -errno : 0;
	return count < 0 ? -errno : -ENOSPC;
}

int gw_store_each_fence(const struct gw_store *store,
			void (*found)(void *data, const struct gw_attempt_id *id), void *data)
{
	uint8_t bytes[FENCE_BYTES];
	ssize_t count;
	off_t at = 0;

	while ((count = pread(store->fences_fd, bytes, sizeof(bytes), at)) ==
	       (ssize_t)sizeof(bytes)) {
		struct gw_attempt_id id;

		memcpy(id.job.id.bytes, bytes, GW_ID_BYTES);
		id.task_index = get_u32(bytes + 16);
		id.attempt = get_u32(bytes + 20);
		found(data, &id);
		at += (off_t)sizeof(bytes);
	}
	if (count < 0)
		return -errno; /* what cannot be read may have been promised */
	/* A torn last entry was never promised to anybody. */
	return ftruncate(store->fences_fd, at) ? -errno : 0;
}

int gw_store_rewrite_fences(struct gw_store *store, const struct gw_attempt_id *ids, size_t count)
{
	uint8_t *bytes = malloc(count * FENCE_BYTES + 1);
	int result;
	int fd;

	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		put_fence(bytes + i * FENCE_BYTES, &ids[i]);
	result = write_whole(store->folder_fd, "fences.new", "fences", bytes, count * FENCE_BYTES);
	free(bytes);
	if (result)
		return result;
	fd = openat(store->folder_fd, "fences", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)close(store->fences_fd);
	store->fences_fd = fd;
	return 0;
}
