/* SPDX-License-Identifier: MIT
 *
 * clock.c - what time it is.
 *
 * Neither clock can fail on a Linux that runs us, so nothing here answers an error.  The
 * monotonic clock stands still while the machine sleeps: a timeout counts time in which
 * the other side could have been heard.
 */
#include "clock.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

static int64_t
read_ms(clockid_t clock)
{
	struct timespec now;
	int rc = clock_gettime(clock, &now);

	assert(rc == 0);
	(void)rc;
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t
clock_ms(void)
{
	return (uint64_t)read_ms(CLOCK_MONOTONIC);
}

uint64_t
clock_us(void)
{
	struct timespec now;
	int rc = clock_gettime(CLOCK_MONOTONIC, &now);

	assert(rc == 0);
	(void)rc;
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t
clock_wall_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}

void
clock_rfc3339(int64_t wall_ms, char ret[CLOCK_RFC3339_SIZE])
{
	/* Rounded down, before 1970 too. */
	int ms = (int)(wall_ms % 1000);
	time_t seconds = wall_ms / 1000;
	struct tm utc;

	if (ms < 0) {
		ms += 1000;
		seconds--;
	}
	gmtime_r(&seconds, &utc);

	size_t len = (size_t)snprintf(ret, CLOCK_RFC3339_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d",
				      utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
				      utc.tm_min, utc.tm_sec);
	if (ms != 0)
		snprintf(ret + len, CLOCK_RFC3339_SIZE - len, ".%03dZ", ms);
	else
		snprintf(ret + len, CLOCK_RFC3339_SIZE - len, "Z");
}
