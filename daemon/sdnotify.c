/* SPDX-License-Identifier: MIT
 *
 * sdnotify.c - a few words to systemd.
 *
 * The protocol is that of sd_notify(3): a datagram of assignments, one a line, to the socket that
 * NOTIFY_SOCKET names.  Where it names none nothing is done, so that nobody above asks whether
 * systemd is there.  That a message cannot be delivered is not our failure and is not looked at:
 * sd_notify(3) itself says so.  libsystemd would say the same in more words: it brings six libraries
 * along, and a megabyte that every idle daemon would hold.
 *
 * The watchdog is pinged by a timer of the mind and by nothing else; a mind that hangs is then
 * noticed within one period.
 */
#include "sdnotify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"

#define STATUS_MAX  256               /* bytes of a status line */
#define MESSAGE_MAX (STATUS_MAX + 64) /* bytes of a message */

struct sdnotify_watchdog {
	struct loop_timer *timer;
	uint64_t every_ms;
};

/* The name of a socket in the file system, or, behind an @, of an abstract one.  False for none. */
static bool
read_address(struct sockaddr_un *ret, socklen_t *ret_len)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t len = name != NULL ? strlen(name) : 0;
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (len < 2 || len >= sizeof(address.sun_path) || (name[0] != '/' && name[0] != '@'))
		return false;
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	*ret = address;
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return true;
}

static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
	char message[MESSAGE_MAX];
	struct sockaddr_un address;
	socklen_t address_len;
	va_list ap;

	if (!read_address(&address, &address_len))
		return;
	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&address,
		     address_len);
	close(fd);
}

void
sdnotify_ready(void)
{
	tell("READY=1");
}

void
sdnotify_reloading(void)
{
	struct timespec now;

	/* Microseconds, where clock.h counts in milliseconds: systemd compares with its own time.
	 */
	clock_gettime(CLOCK_MONOTONIC, &now);
	tell("RELOADING=1\nMONOTONIC_USEC=%llu",
	     (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}

void
sdnotify_stopping(void)
{
	tell("STOPPING=1");
}

void
sdnotify_status(const char *format, ...)
{
	char text[STATUS_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	for (char *at = text; *at != '\0'; at++)
		if (*at == '\n') /* would begin another assignment */
			*at = ' ';
	tell("STATUS=%s", text);
}

static void
ping(void *arg)
{
	struct sdnotify_watchdog *watchdog = arg;

	tell("WATCHDOG=1");
	loop_timer_start(watchdog->timer, watchdog->every_ms);
}

/* How often systemd wants to hear of this process, sd_watchdog_enabled(3); 0: not at all. */
static uint64_t
watchdog_period_us(void)
{
	const char *period = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (period == NULL || (pid != NULL && strtoul(pid, NULL, 10) != (unsigned long)getpid()))
		return 0;
	return strtoull(period, NULL, 10);
}

struct sdnotify_watchdog *
sdnotify_watchdog_new(struct loop *loop)
{
	uint64_t period_us = watchdog_period_us();

	if (period_us == 0)
		return NULL;
	struct sdnotify_watchdog *watchdog = mem_zero(1, sizeof(*watchdog));
	watchdog->every_ms = period_us / 2 / 1000;
	if (watchdog->every_ms == 0)
		watchdog->every_ms = 1;
	watchdog->timer = loop_timer_new(loop, ping, watchdog);
	ping(watchdog);
	return watchdog;
}

void
sdnotify_watchdog_free(struct sdnotify_watchdog *watchdog)
{
	if (watchdog == NULL)
		return;
	loop_timer_free(watchdog->timer);
	free(watchdog);
}
