/* SPDX-License-Identifier: MIT
 *
 * control_files.c - the control commands about files: search, ls, put, rm.  They run on the pool.
 *
 * A page has CONTROL_PAGE_MAX rows at most, however many were asked for: so many always fit in a
 * reply, whatever their names are.  The final line says with cursor= where to go on.
 *
 * put reads the file by the descriptor that the user opened with his own rights; the daemon needs
 * none.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control_commands.h"

struct page {
	struct command *command;
	size_t count;
	size_t skip;  /* rows of earlier pages */
	size_t limit; /* rows of this one */
	bool has_more;
};

void
reply_file(struct buf *out, int code, const char *word, const struct catalog_found *found)
{
	reply_record(out, code, word);
	reply_text(out, "name", found->name);
	reply_content(out, &found->content);
	reply_signed(out, "mtime_ns", found->mtime_ns);
	buf_addf(out, " mode=%04o", found->mode & 07777u);
	reply_number(out, "holder_count", found->holder_count);
	reply_flag(out, "local", found->is_local);
	reply_end(out);
}

static void
reply_directory(struct buf *out, const struct catalog_found *found)
{
	reply_record(out, 200, "directory");
	reply_text(out, "name", found->name);
	reply_number(out, "files", found->files);
	reply_number(out, "bytes", found->bytes);
	reply_flag(out, "more", found->is_cut);
	reply_end(out);
}

static bool
on_found(void *arg, const struct catalog_found *found)
{
	struct page *page = arg;

	if (found->is_directory)
		reply_directory(&page->command->reply, found);
	else
		reply_file(&page->command->reply, 200, "file", found);
	page->count++;
	return true;
}

static void
put_page(const struct page *page, const char *cursor)
{
	struct command *command = page->command;

	reply_final(command, 200);
	reply_number(&command->reply, "count", page->count);
	reply_text(&command->reply, "cursor", cursor[0] != '\0' ? cursor : NULL);
	reply_end(&command->reply);
}

/* What search and ls have in common: scope=, limit= and cursor=. */
static bool
take_query(struct command *command, struct catalog_query *query)
{
	static const char *const scopes[] = { "network", "local", NULL };
	size_t scope = 0;
	uint64_t limit = CONTROL_PAGE_MAX;

	if (!command_take_choice(command, "scope", scopes, &scope) ||
	    !command_take_number(command, "limit", 10, UINT32_MAX, &limit))
		return false;
	if (limit == 0) {
		reply_errorf(command, P2P_BAD_REQUEST, "limit= wants at least 1");
		return false;
	}
	query->local_only = scope == 1;
	query->limit = limit < CONTROL_PAGE_MAX ? (uint32_t)limit : CONTROL_PAGE_MAX;
	query->cursor = line_value(&command->line, "cursor");
	return true;
}

/* What fits `query`; or, if nothing does and there is another, what fits that. */
static void
answer_query(struct command *command, const struct catalog_query *query,
	     const struct catalog_query *otherwise)
{
	struct page page = { .command = command };
	char cursor[CATALOG_CURSOR_SIZE] = "";
	struct error err;
	int code = service_search(command->service, query, on_found, &page, cursor, &err);

	if (code == P2P_OK && page.count == 0 && cursor[0] == '\0' && otherwise != NULL) {
		code = service_search(command->service, otherwise, on_found, &page, cursor, &err);
		/* The top may be empty; any other directory is one by what lies in it. */
		if (code == P2P_OK && page.count == 0 && cursor[0] == '\0' &&
		    query->cursor == NULL && query->text[0] != '\0')
			code = error_set(&err, P2P_NOT_FOUND, "%s a file or a directory \"%.256s\"",
					 query->local_only ? "this peer does not share"
							   : "no peer has",
					 query->text);
	}
	if (code == P2P_OK) {
		put_page(&page, cursor);
		return;
	}
	buf_reset(&command->reply); /* a page that failed half-way is none */
	reply_error(command, &err);
}

/* What search alone takes: in=, size_min= and the like. */
static bool
take_filter(struct command *command, struct catalog_filter *filter)
{
	static const char *const states[] = {
		[CATALOG_ANY_STATE] = "any", [CATALOG_HERE] = "here", [CATALOG_AWAY] = "away", NULL
	};
	size_t state = CATALOG_ANY_STATE;
	uint64_t mtime_min = 0, mtime_max = INT64_MAX;

	if (!command_take_number(command, "size_min", 10, UINT64_MAX, &filter->size_min) ||
	    !command_take_number(command, "size_max", 10, UINT64_MAX, &filter->size_max) ||
	    !command_take_number(command, "mtime_min_ns", 10, INT64_MAX, &mtime_min) ||
	    !command_take_number(command, "mtime_max_ns", 10, INT64_MAX, &mtime_max) ||
	    !command_take_choice(command, "state", states, &state))
		return false;
	/* What is older than 1970 is told as long as nobody asks for a time. */
	if (line_value(&command->line, "mtime_min_ns") != NULL)
		filter->mtime_min_ns = (int64_t)mtime_min;
	filter->mtime_max_ns = (int64_t)mtime_max;
	filter->directory = line_value(&command->line, "in");
	filter->holder = line_value(&command->line, "holder");
	filter->state = (enum catalog_state)state;
	return true;
}

void
cmd_search(struct command *command)
{
	static const char *const matches[] = {
		[CATALOG_SUBSTRING] = "substring",
		[CATALOG_GLOB] = "glob",
		[CATALOG_EXACT] = "exact",
		[CATALOG_UNDER] = "under",
		[CATALOG_ROOT] = "root",
		[CATALOG_LEVEL] = "level",
		NULL,
	};
	struct catalog_filter filter = CATALOG_FILTER_NONE;
	struct catalog_query query = { .text = command_argument(command), .filter = &filter };
	size_t match = CATALOG_SUBSTRING;

	if (!command_take_choice(command, "match", matches, &match) ||
	    !take_query(command, &query) || !take_filter(command, &filter))
		return;
	query.match = (enum catalog_match)match;
	answer_query(command, &query, NULL);
}

static void
on_unshareable(void *arg, const char *name, const char *why)
{
	struct page *page = arg;
	struct buf *out = &page->command->reply;

	if (page->skip > 0) {
		page->skip--;
		return;
	}
	if (page->count == page->limit || command_is_full(page->command)) {
		page->has_more = true;
		return;
	}
	reply_record(out, 200, "unshareable");
	reply_text(out, "name", name);
	reply_text(out, "why", why);
	reply_end(out);
	page->count++;
}

static void
list_unshareable(struct command *command, const struct catalog_query *query)
{
	struct page page = { .command = command, .limit = query->limit };
	uint64_t skip = 0;
	char cursor[24] = "";

	if (!command_take_number(command, "cursor", 10, INDEXER_TROUBLE_MAX, &skip))
		return;
	page.skip = (size_t)skip;
	service_unshareable(command->service, on_unshareable, &page);
	if (page.has_more)
		snprintf(cursor, sizeof(cursor), "%" PRIu64, skip + page.count);
	put_page(&page, cursor);
}

void
cmd_ls(struct command *command)
{
	struct catalog_query query = { .match = CATALOG_LEVEL };
	bool unshareable = false, recursive = false;

	query.text = command_argument(command) != NULL ? command_argument(command) : "";
	if (!take_query(command, &query) || !command_take_flag(command, "recursive", &recursive) ||
	    !command_take_flag(command, "unshareable", &unshareable))
		return;
	if (unshareable) {
		list_unshareable(command, &query);
		return;
	}
	if (recursive)
		query.match = CATALOG_UNDER;
	/* As with ls(1), what is no directory may be a file; a cursor of one goes on with no other. */
	struct catalog_query file = query;
	file.match = CATALOG_EXACT;
	answer_query(command, &query, &file);
}

/* --- changing the share --- */

/* The number of descriptors that came along must be `count`, each a regular file open for `access`.
 */
bool
command_check_fds(struct command *command, size_t count, int access)
{
	size_t came = 0;

	while (came < CONTROL_FDS_MAX && command->fds[came] >= 0)
		came++;
	if (came != count || command->has_extra_fds) {
		reply_errorf(command, P2P_BAD_REQUEST,
			     "%s wants %s (SCM_RIGHTS) with its line, not %s%zu",
			     command->row->name, count == 1 ? "one descriptor" : "two descriptors",
			     command->has_extra_fds ? "more than " : "", came);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		struct stat st;
		int flags = fcntl(command->fds[i], F_GETFL);

		if (flags < 0 || fstat(command->fds[i], &st) != 0 || !S_ISREG(st.st_mode)) {
			reply_errorf(command, P2P_BAD_REQUEST, "Descriptor %zu is no regular file",
				     i + 1);
			return false;
		}
		int mode = flags & O_ACCMODE;
		if ((flags & O_PATH) != 0 || (mode != access && mode != O_RDWR)) {
			reply_errorf(command, P2P_FORBIDDEN, "Descriptor %zu is not open for %s",
				     i + 1, access == O_RDWR ? "reading and writing" : "reading");
			return false;
		}
	}
	return true;
}

static bool
take_put(struct command *command, struct service_put *put)
{
	uint64_t mode = 0, mtime = 0;
	struct stat st;

	if (!command_take_flag(command, "replace", &put->replace) ||
	    !command_take_number(command, "mode", 8, 0777, &mode) ||
	    !command_take_number(command, "mtime", 10, INT64_MAX, &mtime) ||
	    !command_check_fds(command, 1, O_RDONLY))
		return false;
	put->mode = (mode_t)mode;
	put->mtime_ns = (int64_t)mtime;
	put->expect_bytes = fstat(command->fds[0], &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
	return true;
}

void
cmd_put(struct command *command)
{
	struct service_put put = { .origin = SERVICE_OWNER, .name = command_argument(command) };
	struct service_upload *upload = NULL;
	struct service_stored stored;
	struct error err;

	if (!take_put(command, &put))
		return;
	if (service_put_begin(command->service, &put, &upload, &err) == P2P_OK &&
	    service_put_feed_fd(upload, command->fds[0], &command->is_abandoned, &err) == P2P_OK &&
	    service_put_end(upload, &stored, &err) == P2P_OK) {
		reply_final(command, 200);
		reply_text(&command->reply, "name", put.name);
		reply_content(&command->reply, &stored.content);
		reply_flag(&command->reply, "new", stored.is_new);
		reply_end(&command->reply);
	} else {
		reply_error(command, &err);
	}
	service_put_free(upload);
}

void
cmd_rm(struct command *command)
{
	struct error err;

	if (service_remove(command->service, SERVICE_OWNER, command_argument(command), NULL,
			   &err) != P2P_OK) {
		reply_error(command, &err);
		return;
	}
	reply_final(command, 200);
	reply_text(&command->reply, "name", command_argument(command));
	reply_end(&command->reply);
}
