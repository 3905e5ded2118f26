/* SPDX-License-Identifier: MIT
 *
 * control_access.c - who is in the group that may control the daemon.
 *
 * Asked of the name service (getgrouplist) by the user's id, and not of the process: the groups of
 * a process (SO_PEERGROUPS, /proc/PID/status) are those of the moment when it logged in, so that
 * somebody who was taken out of the group would keep his power for as long as a shell of his lives;
 * and a process id may be another's by the time it is looked up.  The price is that the name
 * service may be a slow directory server: hence this is done on the pool, and never for root and
 * the daemon's own user.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control_internal.h"
#include "mem.h"

#define ENTRY_MAX \
	(64u << 10) /* bytes of one user's or group's entry; a group with many members is long */
#define GROUPS_MAX 65536 /* of one user; the kernel's own limit */

int
access_group(const char *name, gid_t *ret, struct error *err)
{
	size_t size = 16 * ENTRY_MAX;
	char *text = mem_alloc(size);
	struct group entry, *found = NULL;
	int why = getgrnam_r(name, &entry, text, size, &found);
	int code = P2P_OK;

	if (found != NULL)
		*ret = found->gr_gid;
	else if (why != 0)
		code = error_set(err, P2P_IO, "[control] group: cannot look up \"%s\": %s", name,
				 strerror(why));
	else
		code = error_set(err, P2P_NOT_FOUND,
				 "[control] group: there is no group \"%s\" (groupadd --system %s)",
				 name, name);
	free(text);
	return code;
}

/* Fills groups[*count]; the number that there are into *count.  True if all fitted. */
static bool
list_groups(uid_t uid, gid_t *groups, int *count)
{
	char *text = mem_alloc(ENTRY_MAX);
	struct passwd entry, *found = NULL;
	bool is_whole = false;

	if (getpwuid_r(uid, &entry, text, ENTRY_MAX, &found) != 0 || found == NULL)
		*count = 0;
	else
		is_whole = getgrouplist(found->pw_name, found->pw_gid, groups, count) >= 0;
	free(text);
	return is_whole;
}

bool
access_is_member(uid_t uid, gid_t group)
{
	int count = 64;
	gid_t *groups = mem_zero((size_t)count, sizeof(*groups));
	bool is_member = false;

	if (!list_groups(uid, groups, &count) && count > 64 && count <= GROUPS_MAX) {
		groups = mem_grow(groups, (size_t)count, sizeof(*groups));
		if (!list_groups(uid, groups, &count))
			count = 0; /* changed in between: refused now, asked again with the next
				      command */
	} else if (count > 64) {
		count = 0;
	}
	for (int i = 0; i < count && !is_member; i++)
		is_member = groups[i] == group;
	free(groups);
	return is_member;
}
