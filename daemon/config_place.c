/* SPDX-License-Identifier: MIT
 *
 * config_place.c - default places: the system's, systemd's, or the user's.
 *
 * Three ways to be started, in this order:
 *   - systemd hands directories over (STATE_DIRECTORY, RUNTIME_DIRECTORY): those;
 *   - root: /etc, /var/lib, /run;
 *   - anybody else: the XDG directories, whose variables count only if they are absolute.
 *
 * A service of the system's systemd, under a user of its own, reads /etc too.  It is told from a
 * service of a user's systemd by XDG_RUNTIME_DIR, which only the latter has.
 *
 * Paths are made up, nothing is made on disk.
 */
#include "config_place.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "mem.h"
#include "name.h"

#define HOST_NAME_SIZE 64 /* of a peer's name, NUL included */

/* The variable's value if it is an absolute path, of a list with colons the first. */
static char *
directory_of(const char *variable)
{
	const char *value = getenv(variable);

	if (value == NULL || value[0] != '/')
		return NULL;
	return mem_format("%.*s", (int)strcspn(value, ":"), value);
}

static bool
is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value != NULL && value[0] == '/';
}

static bool
is_system(void)
{
	if (geteuid() == 0)
		return true;
	return (is_set("STATE_DIRECTORY") || is_set("RUNTIME_DIRECTORY")) &&
	       !is_set("XDG_RUNTIME_DIR");
}

static char *
home(void)
{
	const char *value = getenv("HOME");

	if (value != NULL && value[0] == '/')
		return mem_string(value);
	const struct passwd *entry = getpwuid(geteuid());
	return mem_string(entry != NULL && entry->pw_dir[0] == '/' ? entry->pw_dir : "/");
}

/* $variable/rest, or ~/beneath_home/rest. */
static char *
xdg(const char *variable, const char *beneath_home, const char *rest)
{
	char *base = is_set(variable) ? mem_string(getenv(variable)) : NULL;

	if (base == NULL) {
		char *at_home = home();
		base = mem_format("%s/%s", at_home, beneath_home);
		free(at_home);
	}
	char *path = mem_format("%s/%s", base, rest);
	free(base);
	return path;
}

char *
config_default_path(void)
{
	if (is_system())
		return mem_string(SYSCONFDIR "/p2pd/p2pd.conf");
	return xdg("XDG_CONFIG_HOME", ".config", "p2pd/p2pd.conf");
}

char *
config_place_state(void)
{
	char *given = directory_of("STATE_DIRECTORY");

	if (given != NULL)
		return given;
	if (is_system())
		return mem_string("/var/lib/p2pd");
	return xdg("XDG_STATE_HOME", ".local/state", "p2pd");
}

char *
config_place_share(const char *state)
{
	if (is_system())
		return mem_format("%s/share", state);
	return xdg("XDG_DATA_HOME", ".local/share", "p2pd/share");
}

char *
config_place_socket(const char *state)
{
	char *base = directory_of("RUNTIME_DIRECTORY");
	char *path;

	if (base != NULL)
		path = mem_format("%s/p2pd.sock", base);
	else if (is_system())
		path = mem_string("/run/p2pd/p2pd.sock");
	else if (is_set("XDG_RUNTIME_DIR"))
		path = mem_format("%s/p2pd/p2pd.sock", getenv("XDG_RUNTIME_DIR"));
	else
		path = mem_format("%s/p2pd.sock", state);
	free(base);
	return path;
}

char *
config_place_name(void)
{
	char name[HOST_NAME_SIZE] = "";

	gethostname(name, sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	return mem_string(name_check_part(name, strlen(name), NULL) == P2P_OK ? name : "localhost");
}
