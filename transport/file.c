/* Files read and written whole; see the header for what that promises. */
#include "transport/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int gw_file_path(char *ret_path, size_t path_bytes, const char *directory, const char *name)
{
	int size = snprintf(ret_path, path_bytes, "%s/%s", directory, name);

	return size < 0 || (size_t)size >= path_bytes ? -ENAMETOOLONG : 0;
}

static int check_secret(const char *path, const struct stat *status, struct gw_fault *fault)
{
	if (!S_ISREG(status->st_mode)) {
		gw_fault_set(fault, "%s is not a regular file, so no secret is read from it", path);
		return -EPERM;
	}
	if (status->st_uid != geteuid()) {
		gw_fault_set(fault,
			     "%s belongs to user %u, and this program runs as user %u: a "
			     "secret must belong to its reader",
			     path, status->st_uid, geteuid());
		return -EPERM;
	}
	if (status->st_mode & 077) {
		gw_fault_set(fault, "%s has mode %04o, which lets others at a secret: chmod 600 it",
			     path, status->st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

static int read_all(int fd, size_t bytes_max, uint8_t *ret_bytes, size_t *ret_size)
{
	size_t size = 0;
	uint8_t extra;

	for (;;) {
		bool full = size == bytes_max;
		ssize_t got =
			read(fd, full ? &extra : ret_bytes + size, full ? 1 : bytes_max - size);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			break;
		if (got > 0 && full)
			return -EFBIG;
		if (got > 0)
			size += (size_t)got;
	}
	*ret_size = size;
	return 0;
}

int gw_file_read(const char *path, bool secret, size_t bytes_max, void *ret_bytes, size_t *ret_size,
		 struct gw_fault *fault)
{
	/* O_NONBLOCK: opening a FIFO must not wait for its writer; it is then refused. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (secret ? O_NOFOLLOW : 0));
	struct stat status;
	int error;

	if (fd < 0) {
		error = -errno;
		if (error == -ELOOP) {
			gw_fault_set(fault, "%s is a symbolic link, so no secret is read from it",
				     path);
			return -EPERM;
		}
		gw_fault_set(fault, "cannot open %s: %s", path, strerror(-error));
		return error;
	}
	error = fstat(fd, &status) < 0 ? -errno : 0;
	if (error == 0 && secret)
		error = check_secret(path, &status, fault);
	if (error == 0) {
		error = read_all(fd, bytes_max, ret_bytes, ret_size);
		if (error < 0)
			gw_fault_set(fault, "cannot read %s: %s", path, strerror(-error));
	}
	(void)close(fd); /* only read */
	return error;
}

static int sync_folder_of(const char *path)
{
	char folder[GW_PATH_BYTES];
	const char *slash = strrchr(path, '/');
	size_t size = slash ? (size_t)(slash - path) : 0;
	int fd;
	int error = 0;

	if (size >= sizeof(folder))
		return -ENAMETOOLONG;
	memcpy(folder, path, size);
	folder[size] = '\0';
	fd = open(slash ? (size ? folder : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		error = -errno;
	(void)close(fd); /* only synced */
	return error;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t put = write(fd, bytes, size);

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put > 0) {
			bytes += put;
			size -= (size_t)put;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Puts the finished file at its name. A hard link refuses a name that is taken, a rename replaces
 * it; both at once for whoever looks. */
static int publish(const char *temporary, const char *path, bool keep)
{
	int error;

	if (!keep)
		return rename(temporary, path) < 0 ? -errno : 0;
	error = link(temporary, path) < 0 ? -errno : 0;
	(void)unlink(temporary); /* a leftover under a temporary name hurts nobody */
	return error;
}

static int write_file(const char *path, mode_t mode, bool keep, const void *bytes, size_t size)
{
	char temporary[GW_PATH_BYTES];
	int length = snprintf(temporary, sizeof(temporary), "%s.new-%d", path, getpid());
	int fd;
	int error;

	if (length < 0 || (size_t)length >= sizeof(temporary))
		return -ENAMETOOLONG;
	(void)unlink(temporary); /* of an earlier process with our number that ended here */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	error = write_all(fd, bytes, size);
	if (close(fd) < 0 && error == 0)
		error = -errno;
	if (error == 0)
		error = publish(temporary, path, keep);
	if (error < 0) {
		(void)unlink(temporary);
		return error;
	}
	return sync_folder_of(path);
}

int gw_file_write(const char *path, mode_t mode, bool keep, const void *bytes, size_t size,
		  struct gw_fault *fault)
{
	int error = write_file(path, mode, keep, bytes, size);

	if (error < 0)
		gw_fault_set(fault, "cannot write %s: %s", path, strerror(-error));
	return error;
}

static int lock_whole(const char *path, int fd, struct gw_fault *fault)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_SETLK, &lock) == 0)
		return 0;
	if (errno != EACCES && errno != EAGAIN) {
		gw_fault_set(fault, "cannot lock %s: %s", path, strerror(errno));
		return -errno;
	}
	/* Its pid is 0 in a PID namespace that does not show it. */
	if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
		gw_fault_set(fault, "process %d already runs on this state folder; it holds %s",
			     lock.l_pid, path);
	else
		gw_fault_set(fault,
			     "another process already runs on this state folder; it holds %s",
			     path);
	return -EBUSY;
}

int gw_file_lock(const char *directory, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	int fd;
	int error;

	if (gw_file_path(path, sizeof(path), directory, "lock") != 0) {
		gw_fault_set(fault, "%s is too long a path", directory);
		return -ENAMETOOLONG;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		error = -errno;
		gw_fault_set(fault, "cannot open %s: %s", path, strerror(-error));
		return error;
	}
	error = lock_whole(path, fd, fault);
	if (error != 0)
		(void)close(fd); /* it stays open else, and the lock with it */
	return error;
}

int gw_file_rename(const char *from, const char *to)
{
	int error;

	if (rename(from, to) < 0)
		return -errno;
	error = sync_folder_of(to);
	return error < 0 ? error : sync_folder_of(from);
}
