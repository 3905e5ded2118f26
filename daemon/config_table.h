/* SPDX-License-Identifier: MIT
 *
 * config_table.h - config.def as data, and the fields of a struct config by its rows.
 * For config*.c alone.  Any thread.
 */
#ifndef P2PD_CONFIG_TABLE_H
#define P2PD_CONFIG_TABLE_H

#include "buf.h"
#include "config.h"

enum config_kind {
	KIND_NAME,
	KIND_PATH,
	KIND_GROUP,
	KIND_CONGESTION,
	KIND_BROKER,
	KIND_EXCHANGE,
	KIND_LOG,
	KIND_REMOTE,
	KIND_TRANSPORT,
	KIND_YESNO,
	KIND_NUMBER,
	KIND_SECONDS,
	KIND_MILLIS,
	KIND_SIZE,
	KIND_ADDRESSES,
	KIND_HOSTS,
	KIND_URLS,
};

enum config_reload { RESTART, RELOAD };

struct config_row {
	const char *section, *key;
	enum config_kind kind;
	size_t offset;			/* of the field in struct config */
	enum config_reload reload;
	uint64_t min, max;		/* see config.def */
	const char *fallback, *value, *help;
};

#define CONFIG_ROWS_MAX 64

extern const struct config_row config_rows[];
extern const size_t config_row_count;

const struct config_row	*config_row_find(const char *section, const char *key);
/* The first row of that key in any section. */
const struct config_row	*config_row_find_key(const char *key);
bool	config_row_is_list(const struct config_row *row);

/* Sets the row's field, or adds to its list.  P2P_BAD_REQUEST, with a reason in `err` where
 * `row->value` does not tell it all. */
int	config_row_set(const struct config_row *row, struct config *config, const char *value,
	    struct error *err);
bool	config_row_is_same(const struct config_row *row, const struct config *a,
	    const struct config *b);
/* `to` has nothing in the field yet. */
void	config_row_copy(const struct config_row *row, struct config *to,
	    const struct config *from);
void	config_row_free(const struct config_row *row, struct config *config);

bool	config_section_exists(const char *name, size_t len);
/* "[node] [share] ...", and "name, state, log": what there is. */
void	config_list_sections(struct buf *buf);
void	config_list_keys(struct buf *buf, const char *section);

#endif
