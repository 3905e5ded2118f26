/* SPDX-License-Identifier: MIT
 *
 * listing.c - the entries of one directory, in the order of whole names.
 *
 * Names are sorted by their bytes, directories with a `/` behind: so the names of all files beneath
 * come in the order that the catalog has, when the tree is walked by these listings.
 *
 * A directory may have millions of entries.  They stand in one arena, with one pointer each; 10^6
 * names of 20 bytes are 30 MB while their directory is walked, and nothing afterwards.
 */
#include "listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "name.h"

#define ROOM_MIN 4096 /* bytes of an arena */

void
listing_fini(struct listing *listing)
{
	free(listing->arena);
	free(listing->names);
	*listing = (struct listing){ 0 };
}

unsigned char
listing_type(const char *name)
{
	return (unsigned char)name[-1];
}

static void
add_entry(struct listing *listing, const char *name, unsigned char type)
{
	size_t len = strlen(name);

	if (listing->used + len + 3 > listing->room) {
		listing->room = listing->room == 0 ? ROOM_MIN : 2 * listing->room;
		listing->arena = mem_grow(listing->arena, listing->room, 1);
	}
	char *at = listing->arena + listing->used;
	*at++ = (char)type;
	memcpy(at, name, len);
	at += len;
	if (type == DT_DIR)
		*at++ = '/';
	*at++ = '\0';
	listing->used = (size_t)(at - listing->arena);
	listing->count++;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The arena has its place for good only now. */
static void
sort_entries(struct listing *listing)
{
	if (listing->count == 0)
		return;
	listing->names = mem_zero(listing->count, sizeof(*listing->names));
	char *at = listing->arena;
	for (size_t i = 0; i < listing->count; i++) {
		listing->names[i] = at + 1;
		at += strlen(at + 1) + 2;
	}
	qsort(listing->names, listing->count, sizeof(*listing->names), compare_names);
}

/* Some file systems do not say what an entry is. */
static unsigned char
type_of(int dir_fd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return DT_REG; /* looked at again, and found out, later */
	return IFTODT(st.st_mode);
}

static bool
is_skipped(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	       strncmp(name, NAME_TEMP_PREFIX, strlen(NAME_TEMP_PREFIX)) == 0;
}

int
listing_read(struct listing *ret, int dir_fd)
{
	*ret = (struct listing){ 0 };
	/* A descriptor of its own has an offset of its own. */
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		int error = errno;
		close(fd);
		return error;
	}

	const struct dirent *entry;
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
		if (!is_skipped(entry->d_name))
			add_entry(ret, entry->d_name, type_of(dir_fd, entry));
	int error = errno;
	closedir(dir);
	if (error == 0)
		sort_entries(ret);
	return error;
}
