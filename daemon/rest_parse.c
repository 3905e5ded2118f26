/* SPDX-License-Identifier: MIT
 *
 * rest_parse.c - what HTTP writes into targets and header fields, taken apart.
 *
 * Everything here is fed with what anybody may send, has no I/O and no state, and is fuzzed by
 * itself.
 *
 * A target is decoded exactly once, here and nowhere else (the HTTP library is told to leave it
 * alone), so that what was checked is what is used.  In the path an encoded slash is refused rather
 * than decoded:
 * `/` divides parts and nothing else.  Parts that would be `.` or `..` are refused as they stand,
 * decoded, and also when decoding them a second time, the mistake of proxies, would make them so.
 * Other percent signs are ordinary characters of a name: "100%25.txt" is the file "100%.txt".
 *
 * Ranges are one or none.  A field that asks for several is answered with 416, as one that
 * makes no sense: the alternatives are many small reads for one request, or a whole file that
 * nobody wanted.
 */
#include "rest_parse.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* --- percent-encoding --- */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte that "%xx" at `at` stands for, or -1. */
static int
escaped_byte(const char *at)
{
	int high = at[0] == '%' ? hex_value(at[1]) : -1;
	int low = high >= 0 ? hex_value(at[2]) : -1;

	return low >= 0 ? high << 4 | low : -1;
}

enum decode_kind { DECODE_PATH, DECODE_QUERY };

/* Decodes in place. */
static int
decode(char *text, enum decode_kind kind, struct error *err)
{
	char *out = text;

	for (const char *at = text; *at != '\0'; at++) {
		int byte = (unsigned char)*at;

		if (*at == '%') {
			byte = escaped_byte(at);
			if (byte < 0)
				return error_set(err, P2P_BAD_REQUEST,
						 "the target has a damaged escape");
			if (byte == 0)
				return error_set(err, P2P_BAD_REQUEST,
						 "the target has an encoded NUL");
			if (byte == '/' && kind == DECODE_PATH)
				return error_set(err, P2P_BAD_REQUEST,
						 "the path has an encoded slash");
			at += 2;
		} else if (*at == '+' && kind == DECODE_QUERY) {
			byte = ' ';
		}
		*out++ = (char)byte;
	}
	*out = '\0';
	return P2P_OK;
}

/* The length of the UTF-8 character at `at`, 0 if there is no valid one. */
static size_t
utf8_length(const unsigned char *at)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t need = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
	uint32_t c = at[0] & (0x7fu >> need);

	if (need == 1)
		return 1;
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3f);
	}
	return c < smallest[need] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : need;
}

static bool
is_utf8(const char *text)
{
	while (*text != '\0') {
		size_t len = utf8_length((const unsigned char *)text);

		if (len == 0)
			return false;
		text += len;
	}
	return true;
}

/* --- paths --- */

/* Takes one byte, decoding an escape if there is one. */
static int
next_decoded(const char **at)
{
	int byte = escaped_byte(*at);

	if (byte < 0)
		return (unsigned char)*(*at)++;
	*at += 3;
	return byte;
}

/* True if a part of `path` is `.` or `..`, as it stands or, with `again`, decoded once more. */
static bool
has_dot_part(const char *path, bool again)
{
	size_t dots = 0;
	bool is_other = false;

	for (const char *at = path;;) {
		bool is_end = *at == '\0';
		int c = is_end ? 0 : again ? next_decoded(&at) : (unsigned char)*at++;

		if (c == '.') {
			dots++;
		} else if (c != '/' && c != '\0') {
			is_other = true;
		} else {
			if (!is_other && (dots == 1 || dots == 2))
				return true;
			dots = 0;
			is_other = false;
		}
		if (is_end)
			return false;
	}
}

static int
check_path(char *path, struct error *err)
{
	if (path[0] != '/')
		return error_set(err, P2P_BAD_REQUEST, "the target is no absolute path");

	int code = decode(path, DECODE_PATH, err);
	if (code != P2P_OK)
		return code;
	if (!is_utf8(path))
		return error_set(err, P2P_BAD_REQUEST, "the path is not UTF-8");
	if (has_dot_part(path, false) || has_dot_part(path, true))
		return error_set(err, P2P_BAD_REQUEST, "the path has a part . or ..");
	return P2P_OK;
}

static int
add_param(struct rest_target *target, char *key, struct error *err)
{
	char *value = strchr(key, '=');

	if (value != NULL)
		*value++ = '\0';
	else
		value = key + strlen(key);

	int code = decode(key, DECODE_QUERY, err);
	if (code == P2P_OK && *value != '\0')
		code = decode(value, DECODE_QUERY, err);
	if (code != P2P_OK)
		return code;
	if (!is_utf8(key) || !is_utf8(value))
		return error_set(err, P2P_BAD_REQUEST, "the query is not UTF-8");
	if (rest_target_param(target, key) != NULL)
		return error_set(err, P2P_BAD_REQUEST, "%.64s: given twice", key);
	if (target->param_count == REST_PARAMS_MAX)
		return error_set(err, P2P_BAD_REQUEST, "more than %d parameters", REST_PARAMS_MAX);
	target->params[target->param_count++] = (struct rest_param){ key, value };
	return P2P_OK;
}

int
rest_target_parse(char *text, struct rest_target *ret, struct error *err)
{
	struct rest_target target = { .path = text };
	char *query = strchr(text, '?');

	if (query != NULL)
		*query++ = '\0';

	int code = check_path(text, err);
	while (code == P2P_OK && query != NULL) {
		char *key = strsep(&query, "&");

		if (*key != '\0')
			code = add_param(&target, key, err);
	}
	if (code == P2P_OK)
		*ret = target;
	return code;
}

const char *
rest_target_param(const struct rest_target *target, const char *key)
{
	for (size_t i = 0; i < target->param_count; i++)
		if (strcmp(target->params[i].key, key) == 0)
			return target->params[i].value;
	return NULL;
}

bool
rest_path_match(const char *pattern, const char *path, size_t *ret_at, size_t *ret_len)
{
	const char *open = strchr(pattern, '{');

	if (open == NULL) {
		*ret_at = strlen(path);
		*ret_len = 0;
		return strcmp(pattern, path) == 0;
	}

	size_t before = (size_t)(open - pattern);
	if (strncmp(pattern, path, before) != 0 || path[before] == '\0')
		return false;

	const char *after = strchr(open, '}') + 1;
	bool is_name = strcmp(open, "{name}") == 0;
	size_t len = is_name ? strlen(path + before) : strcspn(path + before, "/");
	if (len == 0 || strcmp(path + before + len, after) != 0)
		return false;
	*ret_at = before;
	*ret_len = len;
	return true;
}

void
rest_path_add(struct buf *buf, const char *name)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";

	for (; *name != '\0'; name++) {
		if (strchr(plain, *name) != NULL)
			buf_add(buf, name, 1);
		else
			buf_addf(buf, "%%%02X", (unsigned char)*name);
	}
}

/* --- ranges --- */

/* Takes a run of digits; false if there is none or it overflows. */
static bool
take_number(const char **at, uint64_t *ret)
{
	uint64_t number = 0;
	const char *start = *at;

	for (; **at >= '0' && **at <= '9'; (*at)++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(**at - '0'), &number))
			return false;
	*ret = number;
	return *at != start;
}

/* "-n": the last n bytes. */
static enum rest_range
parse_suffix(const char *at, uint64_t size_bytes, uint64_t *ret_first, uint64_t *ret_len)
{
	uint64_t len;

	if (!take_number(&at, &len) || *at != '\0' || len == 0 || size_bytes == 0)
		return REST_RANGE_BAD;
	if (len > size_bytes)
		len = size_bytes;
	*ret_first = size_bytes - len;
	*ret_len = len;
	return REST_RANGE_PART;
}

enum rest_range
rest_range_parse(const char *text, uint64_t size_bytes, uint64_t *ret_first, uint64_t *ret_len)
{
	uint64_t first, last = UINT64_MAX;

	if (strncasecmp(text, "bytes=", 6) != 0)
		return REST_RANGE_WHOLE;

	const char *at = text + 6;
	if (*at == '-')
		return parse_suffix(at + 1, size_bytes, ret_first, ret_len);
	if (!take_number(&at, &first) || *at++ != '-')
		return REST_RANGE_BAD;
	if (*at != '\0' && (!take_number(&at, &last) || *at != '\0'))
		return REST_RANGE_BAD;
	if (first > last || first >= size_bytes)
		return REST_RANGE_BAD;
	if (last >= size_bytes)
		last = size_bytes - 1;
	*ret_first = first;
	*ret_len = last - first + 1;
	return REST_RANGE_PART;
}

/* --- entity tags --- */

void
rest_etag(const struct digest *root, char ret[REST_ETAG_SIZE])
{
	ret[0] = '"';
	digest_hex(root, ret + 1);
	ret[REST_ETAG_SIZE - 2] = '"';
	ret[REST_ETAG_SIZE - 1] = '\0';
}

bool
rest_etag_in(const char *list, const char *etag, bool weak_counts)
{
	size_t len = strlen(etag);

	list += strspn(list, " \t");
	if (strcmp(list, "*") == 0)
		return true;
	while (*list != '\0') {
		bool is_weak = strncmp(list, "W/", 2) == 0;

		list += is_weak ? 2 : 0;
		const char *end = *list == '"' ? strchr(list + 1, '"') : NULL;
		if (end == NULL)
			return false;
		if ((weak_counts || !is_weak) && (size_t)(end + 1 - list) == len &&
		    strncasecmp(list, etag, len) == 0)
			return true;
		list = end + 1;
		list += strspn(list, " \t,");
	}
	return false;
}

bool
rest_etag_parse(const char *text, struct digest *ret)
{
	char hex[DIGEST_HEX_SIZE];

	if (strlen(text) != REST_ETAG_SIZE - 1 || text[0] != '"' || text[REST_ETAG_SIZE - 2] != '"')
		return false;
	memcpy(hex, text + 1, DIGEST_HEX_SIZE - 1);
	hex[DIGEST_HEX_SIZE - 1] = '\0';
	return digest_parse_hex(hex, ret);
}

/* --- dates --- */

static const char week_days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void
rest_date(int64_t wall_s, char ret[REST_DATE_SIZE])
{
	time_t when = (time_t)wall_s;
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 8099)
		gmtime_r(&(time_t){ 0 }, &tm);
	snprintf(ret, REST_DATE_SIZE, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
		 week_days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
		 tm.tm_hour, tm.tm_min, tm.tm_sec);
}

bool
rest_date_parse(const char *text, int64_t *ret_wall_s)
{
	char day[4], month[4], again[REST_DATE_SIZE];
	struct tm tm = { .tm_isdst = 0 };

	if (strlen(text) != REST_DATE_SIZE - 1 ||
	    sscanf(text, "%3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT", day, &tm.tm_mday, month,
		   &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 7)
		return false;

	const char *found = strstr(months, month);
	if (found == NULL || (found - months) % 3 != 0)
		return false;
	tm.tm_mon = (int)(found - months) / 3;
	tm.tm_year -= 1900;

	/* What does not come out as it went in was no date. */
	int64_t wall_s = timegm(&tm);
	rest_date(wall_s, again);
	if (strcmp(again, text) != 0)
		return false;
	*ret_wall_s = wall_s;
	return true;
}

/* --- small values --- */

bool
rest_number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t number;

	if (!take_number(&text, &number) || *text != '\0' || number > max)
		return false;
	*ret = number;
	return true;
}

bool
rest_mode(const char *text, uint32_t *ret)
{
	uint32_t mode = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 4 || strspn(text, "01234567") != len)
		return false;
	for (; *text != '\0'; text++)
		mode = mode << 3 | (uint32_t)(*text - '0');
	if (mode == 0 || mode > 0777)
		return false;
	*ret = mode;
	return true;
}

bool
rest_media_is(const char *field, const char *type)
{
	size_t len = strlen(type);

	if (strncasecmp(field, type, len) != 0)
		return false;
	field += len;
	field += strspn(field, " \t");
	return *field == '\0' || *field == ';';
}

const char *
rest_media_of(const char *name)
{
	static const struct {
		const char *ending, *type;
	} known[] = {
		{ "txt", "text/plain; charset=utf-8" },
		{ "md", "text/markdown; charset=utf-8" },
		{ "csv", "text/csv; charset=utf-8" },
		{ "html", "text/html; charset=utf-8" },
		{ "htm", "text/html; charset=utf-8" },
		{ "css", "text/css; charset=utf-8" },
		{ "js", "text/javascript; charset=utf-8" },
		{ "json", "application/json" },
		{ "xml", "application/xml" },
		{ "pdf", "application/pdf" },
		{ "png", "image/png" },
		{ "jpg", "image/jpeg" },
		{ "jpeg", "image/jpeg" },
		{ "gif", "image/gif" },
		{ "svg", "image/svg+xml" },
		{ "webp", "image/webp" },
		{ "mp3", "audio/mpeg" },
		{ "mp4", "video/mp4" },
		{ "webm", "video/webm" },
		{ "gz", "application/gzip" },
		{ "zip", "application/zip" },
		{ "tar", "application/x-tar" },
		{ "zst", "application/zstd" },
	};
	const char *slash = strrchr(name, '/');
	const char *dot = strrchr(slash != NULL ? slash : name, '.');

	for (size_t i = 0; dot != NULL && i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(dot + 1, known[i].ending) == 0)
			return known[i].type;
	return "application/octet-stream";
}
