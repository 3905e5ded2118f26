/* SPDX-License-Identifier: MIT
 *
 * land_tree.c - p2pctl fetch -o: which files are meant, where they belong, and a window of them.
 *
 * First the daemon is asked what the argument is, in its own order: a name, a glob, a directory, an
 * id.  That gives a list of files, each with a path below one base directory; then they are fetched
 * in the list's order, by land.c.  One that fails does not stop the others; the exit code tells.
 *
 * Where things land:
 *   a file, -o PATH           PATH; or PATH/last-part if PATH is a directory or ends with /
 *   a directory, -o PATH      PATH/last-part/... if PATH is a directory or ends with /;
 *                             else PATH becomes it
 *   a glob, -o PATH           PATH/whole-name
 *
 * Of a tree what is there already with the same size and time is left alone, which is how an
 * interrupted tree goes on.
 *
 * At most WINDOW files are under way, on one connection; so the cost of a round trip is shared, and
 * the daemon decides what is really fetched at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "land.h"
#include "util.h"

#define WINDOW 8

/* --- all of them --- */

static void
end_job(struct lander *lander, struct follow_job *job)
{
	struct landing *item = job->arg;

	if (job->state == FOLLOW_DONE)
		land_finish(lander, item);
	else
		land_fail(lander, item->what, job->note != NULL ? job->note : "failed");
	land_close(item);
	follow_drop(&lander->follow, job);
}

static void
count_down(struct lander *lander, const struct landing *item)
{
	uint64_t size = 0;

	util_number(item->size, &size);
	lander->follow.more_files--;
	lander->follow.more_bytes -= size;
}

static int
run_all(struct lander *lander)
{
	size_t next = 0;
	int result = CONN_OK;

	for (;;) {
		while (result == CONN_OK && next < lander->count && lander->follow.going < WINDOW) {
			struct landing *item = &lander->items[next++];
			size_t before = lander->follow.count;

			count_down(lander, item);
			result = land_start(lander, item);
			if (lander->follow.count == before)
				land_close(item);
		}
		if (result != CONN_OK)
			return result;
		struct follow_job *job = follow_next(&lander->follow, &result);
		if (job == NULL && (result != CONN_OK || next == lander->count))
			return result;
		if (job != NULL)
			end_job(lander, job);
	}
}

/* --- what is meant --- */

static void
add_item(struct lander *lander, const struct record *file, const char *path)
{
	if (lander->count == lander->cap) {
		lander->cap = lander->cap == 0 ? 64 : 2 * lander->cap;
		lander->items = util_grow(lander->items, lander->cap, sizeof(*lander->items));
	}
	struct landing *item = &lander->items[lander->count++];
	*item = (struct landing){ .dir_fd = -1, .have_fd = -1, .path = util_string(path) };
	item->what = util_string(record_text(file, "name"));
	item->root = util_string(record_text(file, "root"));
	item->size = util_string(record_text(file, "size"));
	const char *mtime = record_text(file, "mtime_ns");
	const char *mode = record_text(file, "mode");
	item->mtime_ns = mtime != NULL ? strtoll(mtime, NULL, 10) : 0;
	item->mode = mode != NULL ? (mode_t)strtoul(mode, NULL, 8) & 0777 : 0666;
	lander->follow.more_files++;
	lander->follow.more_bytes += record_number(file, "size", 0);
}

static int
find(struct ctl *ctl, const char *match, const char *what, struct reply *ret)
{
	struct request request;

	request_init(&request, "search");
	request_word(&request, what);
	request_pair(&request, "match", match);
	if (request.is_too_long) {
		ctl_complain("the name is too long");
		return EXIT_USAGE;
	}
	request.text[request.len] = '\0';
	return show_collect(ctl, request.text, UINT64_MAX, ret);
}

/* Rows of one name stand together. */
static bool
has_doubles(const struct reply *files)
{
	bool found = false;

	for (size_t i = 1; i < files->count; i++)
		if (strcmp(record_text(&files->records[i - 1], "name"),
			   record_text(&files->records[i], "name")) == 0) {
			ctl_complain("%s has more than one content; fetch it by itself with --id",
				     ctl_escape(record_text(&files->records[i], "name")));
			found = true;
		}
	return found;
}

static const char *
last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* True if things go below PATH rather than becoming it. */
static bool
is_container(const char *path)
{
	struct stat st;
	size_t len = strlen(path);

	return (len > 0 && path[len - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

static int
open_base(struct lander *lander, const char *path, bool make, const char *name)
{
	bool is_made = make && mkdir(path, 0777) == 0;

	if (is_made && name != NULL)
		land_note_directory(lander, "", 0, name);
	if (make && !is_made && errno != EEXIST) {
		ctl_complain("cannot make %s: %s", ctl_escape(path), strerror(errno));
		return EXIT_REFUSED;
	}
	lander->base_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lander->base_fd >= 0)
		return EXIT_DONE;
	ctl_complain("cannot open the directory %s: %s", ctl_escape(path), strerror(errno));
	return EXIT_REFUSED;
}

/* One file.  `file` may lack all but its name: then the daemon resolves it. */
static int
plan_file(struct lander *lander, const struct record *file, const char *output)
{
	if (is_container(output)) {
		if (record_text(file, "root") == NULL) {
			ctl_complain("no file has this name; to fetch by an id, say -o %s%sNAME",
				     ctl_escape(output),
				     output[strlen(output) - 1] == '/' ? "" : "/");
			return EXIT_REFUSED;
		}
		add_item(lander, file, last_part(record_text(file, "name")));
		return open_base(lander, output, true, NULL);
	}
	const char *name = last_part(output);
	char *directory =
	    name == output ? util_string(".") : util_format("%.*s", (int)(name - output), output);
	add_item(lander, file, name);
	int ret = open_base(lander, directory, false, NULL);
	free(directory);
	return ret;
}

/* What lies below directory `top`, or fits a glob (top NULL). */
static int
plan_tree(struct lander *lander, const struct reply *files, const char *top, const char *output)
{
	size_t skip = 0;
	char *becomes = NULL; /* what the base directory is in the network's tree */

	if (has_doubles(files))
		return EXIT_REFUSED;
	lander->is_tree = true;
	if (top != NULL) {
		size_t len = strlen(top);

		while (len > 0 && top[len - 1] == '/')
			len--;
		skip = len > 0 ? len + 1 : 0;
		if (is_container(output))
			while (skip > 0 && (skip == len + 1 || top[skip - 1] != '/'))
				skip--;
		else if (len > 0)
			becomes = util_format("%.*s", (int)len, top);
	}
	for (size_t i = 0; i < files->count; i++) {
		const char *name = record_text(&files->records[i], "name");

		if (name != NULL && strlen(name) > skip)
			add_item(lander, &files->records[i], name + skip);
	}
	int ret = open_base(lander, output, true, becomes);
	free(becomes);
	return ret;
}

/* Finds out what is meant, in the daemon's own order: a name, a glob, a directory, an id. */
static int
plan(struct lander *lander, const char *what, const char *output)
{
	struct ctl *ctl = lander->ctl;
	struct reply files = { 0 };
	int ret;

	if (what[0] == '\0') {
		ctl_complain("a name, an id, a directory or a glob is wanted");
		return EXIT_USAGE;
	}
	if (ctl_has(ctl, OPT_ID)) {
		const struct record *chosen =
		    fetch_choose(ctl, what, ctl->values[OPT_ID], &files, &ret);

		if (chosen != NULL)
			ret = plan_file(lander, chosen, output);
		goto out;
	}
	ret = find(ctl, "exact", what, &files);
	if (ret != EXIT_DONE)
		goto out;
	if (files.count > 0) {
		ret = EXIT_REFUSED;
		if (files.count == 1)
			ret = plan_file(lander, &files.records[0], output);
		else
			ctl_complain("%s has more than one content", ctl_escape(what));
		if (files.count > 1)
			show_candidates(ctl, &files, "file", what);
		goto out;
	}
	reply_fini(&files);
	bool is_glob = strpbrk(what, "*?[") != NULL;
	ret = find(ctl, is_glob ? "glob" : "under", what, &files);
	if (ret == EXIT_DONE && files.count > 0) {
		ret = plan_tree(lander, &files, is_glob ? NULL : what, output);
	} else if (ret == EXIT_DONE) {
		char *keys[] = { (char *)"name" }, *values[] = { (char *)what };
		struct record unknown = { .count = 1, .keys = keys, .values = values };

		ret = plan_file(lander, &unknown, output);
	}
out:
	reply_fini(&files);
	return ret;
}

static void
tell_end(const struct lander *lander, int result)
{
	if (result == CONN_INTERRUPTED)
		ctl_complain("stopped; the same command goes on where it stopped");
	if (ctl_has(lander->ctl, OPT_JSON)) {
		char done[24], present[24], failed[24];
		char *keys[] = { (char *)"done_files", (char *)"present", (char *)"failed_files" };
		char *values[] = { done, present, failed };
		struct reply reply = {
			.final = { .code = 200, .count = 3, .keys = keys, .values = values }
		};

		snprintf(done, sizeof(done), "%zu", lander->done);
		snprintf(present, sizeof(present), "%zu", lander->present);
		snprintf(failed, sizeof(failed), "%zu", lander->failed);
		json_print_reply(&reply, NULL);
	} else if (lander->present > 0 && !ctl_has(lander->ctl, OPT_QUIET)) {
		printf("%zu file%s here already\n", lander->present,
		       lander->present == 1 ? " is" : "s are");
	}
}

static void
landing_fini(struct landing *item)
{
	land_close(item);
	free(item->what);
	free(item->root);
	free(item->size);
	free(item->path);
	free(item->name);
}

int
land_files(struct ctl *ctl)
{
	struct lander lander = { .ctl = ctl, .base_fd = -1 };
	int result = CONN_OK;
	int ret = follow_begin(&lander.follow, ctl);

	if (ret == EXIT_DONE)
		ret = plan(&lander, ctl->args[0], ctl->values[OPT_OUTPUT]);
	if (ret == EXIT_DONE) {
		conn_catch_signals(ctl->conn);
		result = run_all(&lander);
		if (result == CONN_OK)
			land_set_directories(&lander);
		ret = result == CONN_OK ? lander.exit_code
		      : result == CONN_INTERRUPTED
			  ? EXIT_REFUSED
			  : ctl_lost(ctl, "the same command goes on where it stopped");
		tell_end(&lander, result);
	}
	follow_end(&lander.follow);
	for (size_t i = 0; i < lander.count; i++)
		landing_fini(&lander.items[i]);
	free(lander.items);
	land_forget_directories(&lander);
	if (lander.base_fd >= 0)
		close(lander.base_fd);
	return ret;
}
