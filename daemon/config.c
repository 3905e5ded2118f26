/* SPDX-License-Identifier: MIT
 *
 * config.c - from the bytes of a configuration file to a struct config.
 *
 * The heart is config.def, the table of keys (config_table.c): reading a value, defaults, what a
 * reload changes, the manual page and the example all follow it.
 *
 * A file is read whole and within a limit, then handed to libinih line by line.  libinih splits
 * a line into key and value and drops comments; the rest it does not do: it cuts long lines in
 * two and reads the tail as another setting, accepts a key twice, takes an indented line for
 * more of the value above, overlooks what follows a section's bracket, and goes on after errors.
 * So every line is judged here before libinih sees it (check_line), and every setting when it
 * comes back (on_setting).  The first fault ends it, with file, line and what is accepted.
 *
 * Values stand as they are: there are no quotes, no escapes and no expansion.  ` ;` (a blank or
 * tab, then a semicolon) begins a comment; a semicolon without a blank before it is part of the
 * value.
 *
 * Defaults go the same way as values of the file do.  Then come the rules that concern several
 * keys.  That all of it can be had on this host (a directory, a free port) is for others to find
 * out.
 *
 * A result is immutable and refcounted, so a reload is a new one, merged with the old.
 *
 * Loads run one at a time: libinih is set up by global variables.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_place.h"
#include "config_table.h"
#include "config_value.h"
#include "file.h"
#include "mem.h"

#define LINE_SIZE (CONFIG_LINE_MAX + 2) /* LF and NUL */
#define BOM       "\xEF\xBB\xBF"
#define BLANKS    " \t"

/* How often a key stood in the file. */
enum seen { SEEN_NOT, SEEN_EMPTY, SEEN_VALUE };

struct parse {
	const char *source;   /* for errors */
	const char *at, *end; /* what libinih has not seen yet */
	unsigned line;        /* the number of the line it has */
	struct config *config;
	enum seen seen[CONFIG_ROWS_MAX];
	size_t counts[CONFIG_ROWS_MAX];                   /* values that each key was given */
	unsigned lines[CONFIG_ROWS_MAX][CONFIG_LIST_MAX]; /* and where */
	struct error *err;
	bool has_failed; /* and err says why */
};

/* Lines. */

static int fail(struct parse *parse, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what is wrong in the line at hand (0: in none); for the first fault only. */
static int
fail(struct parse *parse, const char *format, ...)
{
	char *text;
	va_list ap;

	if (parse->has_failed)
		return P2P_BAD_REQUEST;
	parse->has_failed = true;
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	char where[16] = "";
	if (parse->line > 0)
		snprintf(where, sizeof(where), ":%u", parse->line);
	error_set(parse->err, P2P_BAD_REQUEST, "%s%s: %s", parse->source, where,
		  text != NULL ? text : "not accepted");
	free(text);
	return P2P_BAD_REQUEST;
}

/* `line` begins with a bracket. */
static int
check_section(struct parse *parse, const char *line)
{
	size_t len = strcspn(line + 1, "]");

	if (line[1 + len] == '\0')
		return fail(parse, "a section needs a closing bracket: [name]");
	if (!config_section_exists(line + 1, len)) {
		struct buf known;
		buf_init(&known, ERROR_TEXT_MAX);
		config_list_sections(&known);
		fail(parse, "there is no section [%.*s]; there are %s", (int)(len < 64 ? len : 64),
		     line + 1, known.data);
		buf_fini(&known);
		return P2P_BAD_REQUEST;
	}
	const char *rest = line + 1 + len + 1;
	rest += strspn(rest, BLANKS);
	if (*rest != '\0' && *rest != ';' && *rest != '#')
		return fail(parse, "something follows the section's bracket");
	return P2P_OK;
}

static int
check_bytes(struct parse *parse, const char *line, size_t len)
{
	if (len > CONFIG_LINE_MAX)
		return fail(parse, "the line has %zu bytes; at most %d are accepted", len,
			    CONFIG_LINE_MAX);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return fail(parse, "the line has a control character (%s0x%02x) in it",
				    c == '\0' ? "NUL, " : "", c);
	}
	return P2P_OK;
}

/* What libinih would let pass or get wrong.  `line` is NUL-terminated, without its end of line. */
static int
check_line(struct parse *parse, const char *line)
{
	const char *start = line + strspn(line, BLANKS);

	if (*start == '\0' || *start == ';' || *start == '#')
		return P2P_OK;
	if (start != line)
		return fail(parse, "the line is indented; a value is one line, "
				   "and each value of a list has its own \"key = value\"");
	if (*line == '[')
		return check_section(parse, line);
	const char *equals = strpbrk(line, "=:");
	if (equals == NULL || *equals != '=' || equals == line)
		return fail(parse, "this is neither [section] nor key = value nor a comment");
	return P2P_OK;
}

/* libinih's reader: the next line, or NULL at the end or after a fault. */
static char *
read_line(char *out, int size, void *arg)
{
	struct parse *parse = arg;

	if (parse->has_failed || parse->at == parse->end)
		return NULL;
	parse->line++;
	size_t rest = (size_t)(parse->end - parse->at);
	const char *lf = memchr(parse->at, '\n', rest);
	size_t len = lf != NULL ? (size_t)(lf - parse->at) : rest;
	const char *line = parse->at;

	parse->at += len + (lf != NULL);
	if (len > 0 && line[len - 1] == '\r')
		len--;
	if (check_bytes(parse, line, len) != P2P_OK)
		return NULL;
	assert(len + 2 <= (size_t)size);
	memcpy(out, line, len);
	out[len] = '\0';
	if (check_line(parse, out) != P2P_OK)
		return NULL;
	memcpy(out + len, "\n", 2);
	return out;
}

/* Settings. */

static int
refuse_unknown(struct parse *parse, const char *section, const char *key)
{
	struct buf known;

	if (section[0] == '\0')
		return fail(parse, "%.64s stands before the first [section]", key);
	const struct config_row *other = config_row_find_key(key);
	if (other != NULL)
		return fail(parse, "there is no key %s in [%s]; there is one in [%s]", key, section,
			    other->section);
	buf_init(&known, ERROR_TEXT_MAX);
	config_list_keys(&known, section);
	fail(parse, "there is no key %.64s in [%s]; there are %s", key, section, known.data);
	buf_fini(&known);
	return P2P_BAD_REQUEST;
}

static int
refuse_value(struct parse *parse, const struct config_row *row, const char *value,
	     const struct error *why)
{
	/* It may hold a password, and errors go to logs. */
	if (row->kind == KIND_BROKER)
		return fail(parse, "[%s] %s: %.200s; accepted is %s", row->section, row->key,
			    why->text, row->value);
	return fail(parse, "[%s] %s = %.100s%s%s%.200s; accepted is %s", row->section, row->key,
		    value, strlen(value) > 100 ? "..." : "", why->text[0] != '\0' ? ": " : "",
		    why->text, row->value);
}

static int
take_setting(struct parse *parse, const char *section, const char *key, const char *value)
{
	const struct config_row *row = config_row_find(section, key);

	if (row == NULL)
		return refuse_unknown(parse, section, key);
	enum seen *seen = &parse->seen[row - config_rows];
	if (*seen != SEEN_NOT && !config_row_is_list(row))
		return fail(parse, "[%s] %s is given a second time", section, key);
	if (*seen == SEEN_EMPTY || (*seen == SEEN_VALUE && value[0] == '\0'))
		return fail(parse, "[%s] %s is given as nothing and as a value", section, key);
	if (value[0] == '\0' && !config_row_is_list(row))
		return fail(parse,
			    "[%s] %s has no value (leave it out for the default); accepted is %s",
			    section, key, row->value);
	*seen = value[0] == '\0' ? SEEN_EMPTY : SEEN_VALUE;
	if (*seen == SEEN_EMPTY)
		return P2P_OK;

	struct error why = { 0 };
	if (config_row_set(row, parse->config, value, &why) != P2P_OK)
		return refuse_value(parse, row, value, &why);
	size_t index = (size_t)(row - config_rows);
	parse->lines[index][parse->counts[index]++] = parse->line;
	return P2P_OK;
}

/* libinih's handler: not 0 is good. */
static int
on_setting(void *arg, const char *section, const char *key, const char *value)
{
	return take_setting(arg, section, key, value) == P2P_OK;
}

static void
set_up_libinih(void)
{
	ini_use_stack = false; /* its buffer there has 200 bytes */
	ini_allow_realloc = false;
	ini_initial_alloc = LINE_SIZE;
	ini_max_line = LINE_SIZE;
	ini_allow_multiline = false;
	ini_allow_no_value = false;
	ini_allow_inline_comments = true;
	ini_stop_on_first_error = true;
}

/* Defaults, and rules for several keys. */

/* Takes `place`. */
static void
set_place(char **field, char *place)
{
	if (*field == NULL && config_value_path(place, field, NULL) != P2P_OK)
		*field = mem_string(place);
	free(place);
}

static void
fill_defaults(struct parse *parse)
{
	struct config *config = parse->config;

	if (config->node_name == NULL)
		config->node_name = config_place_name();
	set_place(&config->node_state, config_place_state());
	set_place(&config->share_directory, config_place_share(config->node_state));
	set_place(&config->control_socket, config_place_socket(config->node_state));
	for (size_t i = 0; i < config_row_count; i++) {
		const struct config_row *row = &config_rows[i];
		if (parse->seen[i] != SEEN_NOT || row->kind == KIND_PATH ||
		    row->fallback[0] == '\0')
			continue;
		int code = config_row_set(row, config, row->fallback, NULL);
		assert(code == P2P_OK); /* else config.def contradicts itself */
		(void)code;
	}
}

/* True if `path` is `directory` or lies beneath it, as both are written. */
static bool
is_beneath(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	if (strcmp(directory, "/") == 0)
		return true;
	return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Makes the line of the key's value at `item` (0 where it is no list) the one that fail() names. */
static void
look_back(struct parse *parse, const char *section, const char *key, size_t item)
{
	parse->line = parse->lines[config_row_find(section, key) - config_rows][item];
}

#define OPEN_NETWORK_TEXT                                                            \
	"[%s] listen = %s is a network address, and nobody who connects would be "   \
	"authenticated; listen on 127.0.0.1 or [::1], or set open_network = yes in " \
	"[security] at your own risk"

static bool
is_loopback_address(const char *address)
{
	char host[CONFIG_LINE_MAX + 1];
	uint16_t port;

	return config_split_address(address, host, sizeof(host), &port, NULL) == P2P_OK &&
	       config_is_loopback(host);
}

static int
check_listen(struct parse *parse, const char *section, const struct config_list *listen)
{
	for (size_t i = 0; i < listen->count; i++)
		if (!is_loopback_address(listen->items[i])) {
			look_back(parse, section, "listen", i);
			return fail(parse, OPEN_NETWORK_TEXT, section, listen->items[i]);
		}
	return P2P_OK;
}

static bool
holds(const struct config_list *list, const char *item)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], item) == 0)
			return true;
	return false;
}

/* An address can be had once; port 0 is a new port each time. */
static int
check_grpc_listen(struct parse *parse, const struct config *config)
{
	const struct config_list *listen = &config->grpc_listen;

	for (size_t i = 0; i < listen->count; i++) {
		const char *port = strrchr(listen->items[i], ':') + 1;
		if (strtoul(port, NULL, 10) == 0 || !holds(&config->rest_listen, listen->items[i]))
			continue;
		look_back(parse, "grpc", "listen", i);
		return fail(parse, "[rest] and [grpc] cannot both listen on %s", listen->items[i]);
	}
	return P2P_OK;
}

static int
check_whole(struct parse *parse, const struct config *config)
{
	bool is_open = config->security_open_network;

	if (!is_open && check_listen(parse, "rest", &config->rest_listen) != P2P_OK)
		return P2P_BAD_REQUEST;
	if (!is_open && check_listen(parse, "grpc", &config->grpc_listen) != P2P_OK)
		return P2P_BAD_REQUEST;
	if (check_grpc_listen(parse, config) != P2P_OK)
		return P2P_BAD_REQUEST;

	look_back(parse, "share", "directory", 0);
	if (is_beneath(config->node_state, config->share_directory))
		return fail(parse,
			    "[node] state = %.120s lies in [share] directory = %.120s; "
			    "the peer's private key would be shared",
			    config->node_state, config->share_directory);

	look_back(parse, "network", "forget", 0);
	if (config->network_forget_s <= config->network_heartbeat_s)
		return fail(parse, "[network] forget = %us is not longer than heartbeat = %us",
			    config->network_forget_s, config->network_heartbeat_s);
	return P2P_OK;
}

/* Life. */

static struct config *
new_config(const char *source)
{
	struct config *config = mem_zero(1, sizeof(*config));

	config->refs = 1;
	config->source = mem_string(source);
	return config;
}

static int
parse_bytes(struct parse *parse, const char *data, size_t len)
{
	if (len > CONFIG_FILE_MAX)
		return error_set(parse->err, P2P_TOO_LARGE, "%s has more than %u bytes",
				 parse->source, CONFIG_FILE_MAX);
	if (len >= strlen(BOM) && memcmp(data, BOM, strlen(BOM)) == 0) {
		data += strlen(BOM);
		len -= strlen(BOM);
	}
	if (len == 0) /* data may be NULL */
		return P2P_OK;
	parse->at = data;
	parse->end = data + len;
	set_up_libinih();
	if (ini_parse_stream(read_line, parse, on_setting, parse) != 0)
		fail(parse, "this is neither [section] nor key = value nor a comment");
	return parse->has_failed ? P2P_BAD_REQUEST : P2P_OK;
}

struct config *
config_parse(const char *source, const char *data, size_t len, struct error *err)
{
	struct parse parse = {
		.source = source != NULL ? source : "the defaults",
		.config = new_config(source),
		.err = err,
	};
	int code = parse_bytes(&parse, data, len);

	if (code == P2P_OK) {
		fill_defaults(&parse);
		code = check_whole(&parse, parse.config);
	}
	if (code != P2P_OK) {
		config_unref(parse.config);
		return NULL;
	}
	return parse.config;
}

struct config *
config_load(const char *path, struct error *err)
{
	struct config *config = NULL;
	struct buf buf;

	if (path == NULL)
		return config_parse(NULL, "", 0, err);
	buf_init(&buf, CONFIG_FILE_MAX);
	if (file_read_path(path, &buf, err) == P2P_OK)
		config = config_parse(path, buf.data, buf.len, err);
	buf_fini(&buf);
	return config;
}

/* Only a file that is not there counts as none: one that cannot be read is an error, lest its settings be lost. */
struct config *
config_load_usual(struct error *err)
{
	char *path = config_default_path();
	bool is_there = access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
	struct config *config = config_load(is_there ? path : NULL, err);
	free(path);
	return config;
}

struct config *
config_ref(struct config *config)
{
	__atomic_fetch_add(&config->refs, 1, __ATOMIC_RELAXED);
	return config;
}

void
config_unref(struct config *config)
{
	if (config == NULL || __atomic_sub_fetch(&config->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < config_row_count; i++)
		config_row_free(&config_rows[i], config);
	free(config->source);
	free(config);
}

struct config *
config_merge(const struct config *now, const struct config *next, struct buf *ret_restart)
{
	struct config *merged = new_config(next->source);

	for (size_t i = 0; i < config_row_count; i++) {
		const struct config_row *row = &config_rows[i];
		config_row_copy(row, merged, row->reload == RELOAD ? next : now);
		if (row->reload == RESTART && ret_restart != NULL &&
		    !config_row_is_same(row, now, next))
			buf_addf(ret_restart, "[%s] %s\n", row->section, row->key);
	}
	return merged;
}
