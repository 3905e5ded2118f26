/* SPDX-License-Identifier: MIT
 *
 * change.c - the commands that change something: put, rm, cancel, unfollow, limit, reload.
 *
 * put opens the file with the user's rights and hands the descriptor to the daemon.  A directory
 * (-r) is walked without following symbolic links; its files keep their names below the directory's
 * own last part.  One file that is refused does not stop the others; the exit code tells.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "json.h"
#include "render.h"
#include "util.h"

/* Collects replies to many requests for one JSON document, or prints them as they come. */
struct tally {
	struct ctl *ctl;
	struct reply all;
	int exit_code;
};

static void
keep_record(struct tally *tally, struct reply *reply, const char *word)
{
	struct reply one = { 0 };

	one.records = util_zero(1, sizeof(*one.records));
	one.records[0] = reply->final;
	reply->final = (struct record){ 0 };
	one.records[0].word =
	    (char *)word; /* of the document's array; the memory is not the record's */
	one.count = 1;
	reply_append(&tally->all, &one);
}

/* Asks; a refusal is told and remembered.  CONN_OK with *ret_ok, else the talk is over. */
static int
tally_ask(struct tally *tally, const struct request *request, const int *fds, size_t count,
	  const char *about, struct reply *ret, bool *ret_ok)
{
	int result = conn_ask(tally->ctl->conn, request, fds, count, ret);

	*ret_ok = result == CONN_OK && ret->final.code < 400;
	if (result != CONN_OK) {
		tally->exit_code = ctl_lost(tally->ctl, NULL);
	} else if (!*ret_ok) {
		const char *text = record_text(&ret->final, "text"),
			   *slug = record_text(&ret->final, "slug");

		ctl_complain("%s: %s (%s)", ctl_escape(about), ctl_sentence(text),
			     ctl_escape(slug));
		if (ctl_has(tally->ctl, OPT_JSON))
			keep_record(tally, ret, "error");
		tally->exit_code = EXIT_REFUSED;
		reply_fini(ret);
	}
	return result;
}

static int
tally_end(struct tally *tally, const char *list)
{
	if (ctl_has(tally->ctl, OPT_JSON) && tally->exit_code != EXIT_CONNECT) {
		tally->all.final.code = 200;
		json_print_reply(&tally->all, list);
	}
	reply_fini(&tally->all);
	return tally->exit_code;
}

/* --- put --- */

static void
print_put(struct tally *tally, struct reply *reply)
{
	const struct record *final = &reply->final;
	char size[RENDER_CELL_SIZE];

	if (ctl_has(tally->ctl, OPT_JSON)) {
		keep_record(tally, reply, "file");
	} else if (!ctl_has(tally->ctl, OPT_QUIET) && tally->ctl->is_terminal) {
		render_size(record_number(final, "size", 0), size);
		printf("%s  %s  %.12s\n", ctl_escape(record_text(final, "name")), size,
		       ctl_escape(record_text(final, "root")));
	} else if (!ctl_has(tally->ctl, OPT_QUIET)) {
		printf("%s\t%s\t%s\n", ctl_escape(record_text(final, "name")),
		       record_text(final, "size"), record_text(final, "root"));
	}
	reply_fini(reply);
}

/* False: the talk is over. */
static bool
put_fd(struct tally *tally, int fd, const struct stat *st, const char *path, const char *name)
{
	long long mtime_ns = (long long)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	char mode[16];
	struct request request;
	struct reply reply;
	bool is_ok;

	request_init(&request, "put");
	request_word(&request, name);
	snprintf(mode, sizeof(mode), "%o", st->st_mode & 0777u);
	request_pair(&request, "mode", mode);
	if (mtime_ns > 0)
		request_number(&request, "mtime", (uint64_t)mtime_ns);
	if (ctl_has(tally->ctl, OPT_REPLACE))
		request_pair(&request, "replace", "yes");
	if (request.is_too_long) {
		ctl_complain("%s: the name is too long", ctl_escape(path));
		tally->exit_code = EXIT_REFUSED;
		return true;
	}
	if (tally_ask(tally, &request, &fd, 1, path, &reply, &is_ok) != CONN_OK)
		return false;
	if (is_ok)
		print_put(tally, &reply);
	return true;
}

static bool
put_file(struct tally *tally, const char *path, const char *name, bool follows)
{
	/* O_NONBLOCK: a FIFO must not hold us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (follows ? 0 : O_NOFOLLOW));
	struct stat st;
	bool goes_on = true;

	if (fd < 0 || fstat(fd, &st) != 0) {
		ctl_complain("cannot open %s: %s", ctl_escape(path), strerror(errno));
		tally->exit_code = EXIT_REFUSED;
	} else if (!S_ISREG(st.st_mode)) {
		ctl_complain("%s is no regular file%s", ctl_escape(path),
			     S_ISDIR(st.st_mode) ? "; -r puts directories" : "");
		tally->exit_code = EXIT_REFUSED;
	} else {
		goes_on = put_fd(tally, fd, &st, path, name);
	}
	if (fd >= 0)
		close(fd);
	return goes_on;
}

static const char *
last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int
by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool
put_tree(struct tally *tally, char *root)
{
	char *real = realpath(root, NULL); /* so that `.` and `..` have a name */
	char *const paths[] = { real, NULL };
	FTS *fts = real != NULL ? fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name) : NULL;
	size_t skip = real != NULL ? (size_t)(last_part(real) - real) : 0;
	bool goes_on = true;

	if (fts == NULL) {
		ctl_complain("cannot open %s: %s", ctl_escape(root), strerror(errno));
		tally->exit_code = EXIT_REFUSED;
	}
	for (FTSENT *entry; goes_on && fts != NULL && (entry = fts_read(fts)) != NULL;) {
		if (entry->fts_info == FTS_F) {
			goes_on = put_file(tally, entry->fts_path, entry->fts_path + skip, false);
		} else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
			   entry->fts_info == FTS_NS) {
			ctl_complain("cannot read %s: %s", ctl_escape(entry->fts_path),
				     strerror(entry->fts_errno));
			tally->exit_code = EXIT_REFUSED;
		} else if (entry->fts_info != FTS_D && entry->fts_info != FTS_DP) {
			ctl_complain("left out %s: no regular file", ctl_escape(entry->fts_path));
		}
	}
	if (fts != NULL)
		fts_close(fts);
	free(real);
	return goes_on;
}

static bool
is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int
change_put(struct ctl *ctl)
{
	struct tally tally = { .ctl = ctl };
	bool goes_on = true;

	for (int i = 0; goes_on && i < ctl->arg_count; i++) {
		char *path = ctl->args[i];

		if (ctl_has(ctl, OPT_RECURSIVE) && is_directory(path))
			goes_on = put_tree(&tally, path);
		else
			goes_on = put_file(
			    &tally, path,
			    ctl_has(ctl, OPT_AS) ? ctl->values[OPT_AS] : last_part(path), true);
	}
	return tally_end(&tally, "files");
}

/* --- rm, cancel, prioritize, unfollow --- */

/* One request an argument, each with `more` behind it unless that is NULL. */
static int
each_argument(struct ctl *ctl, const char *word, const char *list, const char *done,
	      const char *more)
{
	struct tally tally = { .ctl = ctl };

	for (int i = 0; i < ctl->arg_count - (more != NULL); i++) {
		struct request request;
		struct reply reply;
		bool is_ok;

		request_init(&request, ctl->command);
		request_word(&request, ctl->args[i]);
		if (more != NULL)
			request_word(&request, more);
		if (tally_ask(&tally, &request, NULL, 0, ctl->args[i], &reply, &is_ok) != CONN_OK)
			break;
		if (!is_ok)
			continue;
		if (ctl_has(ctl, OPT_JSON))
			keep_record(&tally, &reply, word);
		else if (!ctl_has(ctl, OPT_QUIET) && ctl->is_terminal)
			printf("%s %s\n", done, ctl_escape(ctl->args[i]));
		reply_fini(&reply);
	}
	return tally_end(&tally, list);
}

int
change_rm(struct ctl *ctl)
{
	return each_argument(ctl, "file", "files", "removed", NULL);
}

int
change_prioritize(struct ctl *ctl)
{
	return each_argument(ctl, "fetch", "fetches", "changed", ctl->args[ctl->arg_count - 1]);
}

int
change_cancel(struct ctl *ctl)
{
	return each_argument(ctl, "fetch", "fetches", "cancelled", NULL);
}

int
change_unfollow(struct ctl *ctl)
{
	return each_argument(ctl, "follow", "follows", "no longer follows", NULL);
}

/* --- limit --- */

static void
print_limits(const struct ctl *ctl, const struct reply *reply)
{
	static const char *const heads[] = { "LIMIT", ">RATE" };
	struct table table;

	table_init(&table, ctl->is_terminal, heads, 2);
	for (size_t i = 0; i < reply->count; i++) {
		uint64_t rate = record_number(&reply->records[i], "rate", 0);
		char size[RENDER_CELL_SIZE], text[RENDER_CELL_SIZE + 2];

		render_size(rate, size);
		snprintf(text, sizeof(text), "%s/s", size);
		table_text(&table, record_text(&reply->records[i], "name"));
		table_either(&table, rate > 0 ? text : "none", rate);
	}
	table_end(&table);
}

int
change_limit(struct ctl *ctl)
{
	struct request request;
	struct reply reply;

	request_init(&request, "limit");
	for (int i = 0; i < ctl->arg_count; i++)
		request_word(&request, ctl->args[i]);
	if (conn_ask(ctl->conn, &request, NULL, 0, &reply) != CONN_OK)
		return ctl_lost(ctl, NULL);
	int ret = EXIT_DONE;
	if (reply.final.code >= 400)
		ret = ctl_refused(ctl, NULL, &reply);
	else if (ctl_has(ctl, OPT_JSON))
		json_print_reply(&reply, "limits");
	else if (ctl->arg_count == 0)
		print_limits(ctl, &reply);
	else if (!ctl_has(ctl, OPT_QUIET))
		printf("changed until the next reload or restart\n");
	reply_fini(&reply);
	return ret;
}

/* --- reload --- */

int
change_reload(struct ctl *ctl)
{
	struct request request;
	struct reply reply;

	request_init(&request, "reload");
	if (conn_ask(ctl->conn, &request, NULL, 0, &reply) != CONN_OK)
		return ctl_lost(ctl, NULL);
	int ret = EXIT_DONE;
	if (reply.final.code >= 400)
		ret = ctl_refused(ctl, NULL, &reply);
	else if (ctl_has(ctl, OPT_JSON))
		json_print_reply(&reply, "restarts");
	else
		for (size_t i = 0; i < reply.count && !ctl_has(ctl, OPT_QUIET); i++)
			printf("%s differs, and wants a restart\n",
			       ctl_escape(record_text(&reply.records[i], "key")));
	reply_fini(&reply);
	return ret;
}
