/* SPDX-License-Identifier: MIT
 *
 * control_commands.h - what the handlers of the control commands share.  For control_*.c alone.  Any thread.
 */
#ifndef P2PD_CONTROL_COMMANDS_H
#define P2PD_CONTROL_COMMANDS_H

#include "control_internal.h"

#define COMMAND(name, syntax, help, min, max, where) void cmd_##name(struct command *command);
#include "control.def"
#undef COMMAND

/* The argument behind the command's name, or NULL. */
const char	*command_argument(const struct command *command);
/* A number in digits of `base` (2 to 10), at most `max`. */
bool		 command_parse_number(const char *text, int base, uint64_t max, uint64_t *ret);

/* These take key=... if it is there, and leave *ret alone if it is not.  False: the error is written. */
bool		 command_take_number(struct command *command, const char *key, int base, uint64_t max, uint64_t *ret);
/* One of `words` (NULL behind the last); *ret is its index. */
bool		 command_take_choice(struct command *command, const char *key, const char *const *words, size_t *ret);
bool		 command_take_flag(struct command *command, const char *key, bool *ret);
/* The descriptors that came along must be `count` regular files open for `access` (O_RDONLY, O_RDWR). */
bool		 command_check_fds(struct command *command, size_t count, int access);

/* No further row should be added to the reply. */
bool		 command_is_full(const struct command *command);
/* The final line of a list. */
void		 command_put_count(struct command *command, size_t count);
void		 reply_content(struct buf *out, const struct content_id *content);
void		 reply_signed(struct buf *out, const char *key, int64_t number);
void		 reply_file(struct buf *out, int code, const char *word, const struct catalog_found *found);

#endif
