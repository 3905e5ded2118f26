/* SPDX-License-Identifier: MIT
 *
 * control_directories.c - the control command directories: what directories of the network's tree are like.
 *
 * For who fetched a tree to a place of his own, and made them there.  Others may have to be asked, so
 * it neither runs on the mind nor keeps a worker: it begins, and ends when they have answered.
 */
#include <stdlib.h>

#include "control_commands.h"
#include "mem.h"

/* Mind, later; the connection may be gone, and nobody reads the reply then. */
static void
on_looked(void *arg, const struct directory *found)
{
	struct command *command = arg;
	struct buf *out = &command->reply;
	size_t told = 0;

	for (size_t i = 0; i + 1 < command->line.word_count; i++) {
		if (!found[i].is_there)
			continue;
		reply_record(out, 200, "directory");
		reply_text(out, "name", command->line.words[i + 1]);
		reply_signed(out, "mtime_ns", found[i].mtime_ns);
		buf_addf(out, " mode=%04o", found[i].mode & DIRECTORY_MODE_MAX);
		reply_end(out);
		told++;
	}
	command_put_count(command, told);
	command_end(command);
}

void
cmd_directories(struct command *command)
{
	size_t count = command->line.word_count - 1;
	char **names = mem_zero(count, sizeof(*names));

	for (size_t i = 0; i < count; i++)
		names[i] = mem_string(command->line.words[i + 1]);
	service_look_at_directories(command->service, names, count, on_looked, command);
}
