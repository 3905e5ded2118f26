/* SPDX-License-Identifier: MIT
 *
 * filter.c - the options of search that say what else a file must be, as the protocol wants them.
 *
 * People think of sizes in powers of 1024 and of ages from now; the protocol knows bytes and points
 * in time.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "util.h"

#define NS_PER_S 1000000000ull

/* A number up to `end`, with one of `letters` behind it or, if `is_plain`, nothing; its value times the letter's. */
static bool
parse_scaled(const char *text, const char *end, const char *letters, const uint64_t *factors,
	     bool is_plain, uint64_t *ret)
{
	char digits[24];
	size_t len = (size_t)(end - text);
	uint64_t factor = 1;

	if (len > 0 && strchr(letters, end[-1]) != NULL)
		factor = factors[strchr(letters, end[-1]) - letters], len--;
	else if (!is_plain)
		return false;
	if (len == 0 || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (!util_number(digits, ret) || *ret > UINT64_MAX / factor)
		return false;
	*ret *= factor;
	return true;
}

static bool
parse_size(const char *text, const char *end, uint64_t *ret)
{
	static const uint64_t factors[] = { 1ull << 10, 1ull << 10, 1ull << 20, 1ull << 20,
					    1ull << 30, 1ull << 30, 1ull << 40, 1ull << 40 };

	return parse_scaled(text, end, "kKmMgGtT", factors, true, ret);
}

bool
filter_size(const char *text, uint64_t *ret_min, uint64_t *ret_max)
{
	const char *dots = strstr(text, ".."), *end = text + strlen(text);

	*ret_min = 0;
	*ret_max = UINT64_MAX;
	if (dots == NULL)
		return false;
	return (dots == text || parse_size(text, dots, ret_min)) &&
	       (dots + 2 == end || parse_size(dots + 2, end, ret_max)) && *ret_min <= *ret_max;
}

bool
filter_age(const char *text, uint64_t *ret_ns)
{
	static const uint64_t factors[] = { 1, 60, 3600, 86400, 7 * 86400 };
	uint64_t age_s, now_s = (uint64_t)time(NULL);

	if (!parse_scaled(text, text + strlen(text), "smhdw", factors, false, &age_s))
		return false;
	*ret_ns = age_s < now_s ? (now_s - age_s) * NS_PER_S : 0;
	return true;
}

void
filter_request(const struct ctl *ctl, struct request *request)
{
	uint64_t min, max;

	if (ctl_has(ctl, OPT_IN))
		request_pair(request, "in", ctl->values[OPT_IN]);
	if (ctl_has(ctl, OPT_SIZE) && filter_size(ctl->values[OPT_SIZE], &min, &max)) {
		request_number(request, "size_min", min);
		request_number(request, "size_max", max);
	}
	if (ctl_has(ctl, OPT_NEWER) && filter_age(ctl->values[OPT_NEWER], &min))
		request_number(request, "mtime_min_ns", min);
	if (ctl_has(ctl, OPT_OLDER) && filter_age(ctl->values[OPT_OLDER], &max))
		request_number(request, "mtime_max_ns", max);
	if (ctl_has(ctl, OPT_HOLDER))
		request_pair(request, "holder", ctl->values[OPT_HOLDER]);
	if (ctl_has(ctl, OPT_STATE))
		request_pair(request, "state", ctl->values[OPT_STATE]);
}
