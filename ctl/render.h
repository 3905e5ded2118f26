/* SPDX-License-Identifier: MIT
 *
 * render.h - columns and progress for people, tabs for scripts.  Everything is escaped here.
 */
#ifndef P2PCTL_RENDER_H
#define P2PCTL_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define RENDER_COLUMNS_MAX	16
#define RENDER_CELL_SIZE	32

/* "17 B", "1.5 GiB" */
void	render_size(uint64_t bytes, char ret[RENDER_CELL_SIZE]);
/* "now", "3 s ago", "5 min ago", "2 h ago", "3 d ago" */
void	render_age(uint64_t ms, char ret[RENDER_CELL_SIZE]);
/* "00:07", "1:02:03", "3 d" */
void	render_duration(uint64_t ms, char ret[RENDER_CELL_SIZE]);
/* "850 us", "1.2 ms" */
void	render_round_trip(uint64_t us, char ret[RENDER_CELL_SIZE]);

/*
 * A sentence that the daemon made, as a terminal may have it.  Names in it may be escaped already, so what is harmful is
 * escaped and a backslash stays single.  At most `cap` bytes, NUL included.
 */
void	render_sentence(const char *text, char *out, size_t cap);

/*
 * On a terminal: aligned columns under their heads.  Else: one line a row, cells divided by one tab, no heads, numbers
 * as the protocol has them.
 */
struct table {
	bool is_terminal;
	size_t column_count;
	const char *const *heads;	/* one that begins with '>' is aligned to the right */
	char **cells;
	size_t cell_count, cell_cap;
	FILE *out;			/* standard output, until it is set otherwise */
};
void	table_init(struct table *table, bool is_terminal, const char *const *heads, size_t column_count);
/* The next cell, row by row; NULL is "-" */
void	table_text(struct table *table, const char *text);
void	table_sentence(struct table *table, const char *text);
void	table_number(struct table *table, uint64_t number);
void	table_size(struct table *table, uint64_t bytes);
/* `human` on a terminal, else the number. */
void	table_either(struct table *table, const char *human, uint64_t number);
/* Prints and frees. */
void	table_end(struct table *table);

/* How far a fetch is, over all that is waited for. */
struct progress {
	uint64_t done_bytes, total_bytes, rate_bps;
	uint64_t done_files, total_files, sources;
	const char *note;		/* why it does not move, or NULL */
};
/* Rewrites the line of it on standard error, and below it the lines of `below` (text without controls, or NULL), each cut to the width;
 * render_progress_end() clears all of them. */
void	render_progress(const struct progress *progress, const char *below);
/* So many lines fit below it. */
size_t	render_progress_room(void);
void	render_progress_end(void);

#endif
