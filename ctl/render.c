/* SPDX-License-Identifier: MIT
 *
 * render.c - columns and progress for people, tabs for scripts.
 *
 * What is printed may come from any host of the network, so every cell passes line_escape(): no
 * name moves the cursor, turns the text around or begins a new row.  A tab cannot stand in a cell,
 * either: it is escaped.
 *
 * Sizes are in binary units with one decimal, as precise as a column needs to be.  Widths are
 * counted in characters; wide ones (CJK) take two columns on most terminals and are counted so.
 */
#include "render.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "line.h"
#include "util.h"

void
render_size(uint64_t bytes, char ret[RENDER_CELL_SIZE])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double size = (double)bytes;
	size_t unit = 0;

	/* 1023.95 KiB would be printed as 1024.0. */
	while (size >= (unit == 0 ? 1024 : 1023.95) &&
	       unit + 1 < sizeof(units) / sizeof(units[0])) {
		size /= 1024;
		unit++;
	}
	snprintf(ret, RENDER_CELL_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", size, units[unit]);
}

void
render_age(uint64_t ms, char ret[RENDER_CELL_SIZE])
{
	uint64_t s = ms / 1000;

	if (s == 0)
		snprintf(ret, RENDER_CELL_SIZE, "now");
	else if (s < 60)
		snprintf(ret, RENDER_CELL_SIZE, "%" PRIu64 " s ago", s);
	else if (s < 3600)
		snprintf(ret, RENDER_CELL_SIZE, "%" PRIu64 " min ago", s / 60);
	else if (s < 2 * 86400)
		snprintf(ret, RENDER_CELL_SIZE, "%" PRIu64 " h ago", s / 3600);
	else
		snprintf(ret, RENDER_CELL_SIZE, "%" PRIu64 " d ago", s / 86400);
}

void
render_duration(uint64_t ms, char ret[RENDER_CELL_SIZE])
{
	uint64_t s = ms / 1000;

	if (s < 3600)
		snprintf(ret, RENDER_CELL_SIZE, "%02" PRIu64 ":%02" PRIu64, s / 60, s % 60);
	else if (s < 2 * 86400)
		snprintf(ret, RENDER_CELL_SIZE, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600,
			 s / 60 % 60, s % 60);
	else
		snprintf(ret, RENDER_CELL_SIZE, "%" PRIu64 " d", s / 86400);
}

void
render_round_trip(uint64_t us, char ret[RENDER_CELL_SIZE])
{
	if (us < 1000)
		snprintf(ret, RENDER_CELL_SIZE, "%" PRIu64 " us", us);
	else
		snprintf(ret, RENDER_CELL_SIZE, "%.1f ms", (double)us / 1000);
}

/* line_escape() doubles what is a backslash, and nothing else of it begins with two. */
void
render_sentence(const char *text, char *out, size_t cap)
{
	char *to = out;

	if (cap == 0)
		return;
	line_escape(text, out, cap);
	for (const char *from = out; *from != '\0'; *to++ = *from++)
		if (from[0] == '\\' && from[1] == '\\')
			from++;
	*to = '\0';
}

/* --- tables --- */

void
table_init(struct table *table, bool is_terminal, const char *const *heads, size_t column_count)
{
	assert(column_count <= RENDER_COLUMNS_MAX);
	*table = (struct table){ .is_terminal = is_terminal,
				 .heads = heads,
				 .column_count = column_count,
				 .out = stdout };
}

static void
add_cell(struct table *table, const char *text, bool is_sentence)
{
	if (table->cell_count == table->cell_cap) {
		table->cell_cap = table->cell_cap == 0 ? 64 : 2 * table->cell_cap;
		table->cells = util_grow(table->cells, table->cell_cap, sizeof(*table->cells));
	}
	if (text == NULL || text[0] == '\0')
		text = "-";
	size_t cap = 10 * strlen(text) + 1;
	char *cell = util_zero(cap, 1);
	if (is_sentence)
		render_sentence(text, cell, cap);
	else
		line_escape(text, cell, cap);
	table->cells[table->cell_count++] = cell;
}

void
table_text(struct table *table, const char *text)
{
	add_cell(table, text, false);
}

void
table_sentence(struct table *table, const char *text)
{
	add_cell(table, text, true);
}

void
table_number(struct table *table, uint64_t number)
{
	char text[RENDER_CELL_SIZE];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	table_text(table, text);
}

void
table_either(struct table *table, const char *human, uint64_t number)
{
	if (table->is_terminal)
		table_text(table, human);
	else
		table_number(table, number);
}

void
table_size(struct table *table, uint64_t bytes)
{
	char text[RENDER_CELL_SIZE];

	render_size(bytes, text);
	table_either(table, text, bytes);
}

/* Columns of a terminal that the text takes. */
static size_t
width_of(const char *text)
{
	mbstate_t state = { 0 };
	size_t left = strlen(text), width = 0;

	while (left > 0) {
		wchar_t c;
		size_t step = mbrtowc(&c, text, left, &state);

		if (step == 0 || step > left) { /* not this locale's: count bytes */
			width += left;
			break;
		}
		int columns = wcwidth(c);
		width += columns > 0 ? (size_t)columns : 0;
		text += step;
		left -= step;
	}
	return width;
}

static void
print_padded(FILE *out, const char *text, size_t width, bool is_right, bool is_last)
{
	size_t own = width_of(text);
	int pad = own < width ? (int)(width - own) : 0;

	if (is_right)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, is_last ? 0 : pad, "");
	fputs(is_last ? "\n" : "  ", out);
}

static void
print_aligned(const struct table *table)
{
	size_t widths[RENDER_COLUMNS_MAX] = { 0 };
	size_t columns = table->column_count;

	for (size_t i = 0; i < columns; i++)
		widths[i] = width_of(table->heads[i] + (table->heads[i][0] == '>'));
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t width = width_of(table->cells[i]);

		if (width > widths[i % columns])
			widths[i % columns] = width;
	}
	for (size_t i = 0; i < columns; i++) {
		bool is_right = table->heads[i][0] == '>';

		print_padded(table->out, table->heads[i] + is_right, widths[i], is_right,
			     i + 1 == columns);
	}
	for (size_t i = 0; i < table->cell_count; i++)
		print_padded(table->out, table->cells[i], widths[i % columns],
			     table->heads[i % columns][0] == '>', i % columns + 1 == columns);
}

static void
print_tabs(const struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++) {
		fputs(table->cells[i], table->out);
		putc((i + 1) % table->column_count == 0 ? '\n' : '\t', table->out);
	}
}

void
table_end(struct table *table)
{
	if (table->is_terminal && table->cell_count > 0)
		print_aligned(table);
	else
		print_tabs(table);
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){ 0 };
}

/* --- progress --- */

static size_t lines_below; /* of the progress on the screen */

static struct winsize
terminal_size(void)
{
	struct winsize size = { 0 };

	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	if (size.ws_col <= 20)
		size.ws_col = 80;
	if (size.ws_row == 0)
		size.ws_row = 24;
	return size;
}

size_t
render_progress_room(void)
{
	struct winsize size = terminal_size();

	return size.ws_row > 2 ? size.ws_row - 2u : 0;
}

/* How many bytes of the line fit into so many columns. */
static size_t
fitting(const char *line, size_t len, size_t columns)
{
	mbstate_t state = { 0 };
	size_t at = 0, width = 0;

	while (at < len) {
		wchar_t c;
		size_t step = mbrtowc(&c, line + at, len - at, &state);

		if (step == 0 || step > len - at) { /* not this locale's: count bytes */
			step = 1;
			c = L'?';
			state = (mbstate_t){ 0 };
		}
		int own = wcwidth(c);
		width += own > 0 ? (size_t)own : 0;
		if (width > columns)
			break;
		at += step;
	}
	return at;
}

/* Without the end of the line, where a terminal would go on to the next one. */
static void
print_cut(const char *line, size_t len)
{
	fwrite(line, 1, fitting(line, len, terminal_size().ws_col - 1u), stderr);
	fputs("\033[K", stderr);
}

/* To the beginning of what is drawn. */
static void
go_up(void)
{
	fputs("\r", stderr);
	if (lines_below > 0)
		fprintf(stderr, "\033[%zuA", lines_below);
	lines_below = 0;
}

static void
make_line(const struct progress *progress, char *line, size_t cap)
{
	char done[RENDER_CELL_SIZE], total[RENDER_CELL_SIZE], rate[RENDER_CELL_SIZE];
	char eta[RENDER_CELL_SIZE] = "--:--", note[256] = "";
	uint64_t left = progress->total_bytes - progress->done_bytes;

	render_size(progress->done_bytes, done);
	render_size(progress->total_bytes, total);
	render_size(progress->rate_bps, rate);
	if (progress->rate_bps > 0)
		render_duration(left / progress->rate_bps * 1000, eta);
	if (progress->note != NULL)
		render_sentence(progress->note, note, sizeof(note));

	double part = progress->total_bytes > 0
			  ? (double)progress->done_bytes / (double)progress->total_bytes
			  : 1;
	int len = snprintf(line, cap, "%3d%%  %s of %s  %s/s  ETA %s  %" PRIu64 " source%s",
			   (int)(100 * part), done, total, rate, eta, progress->sources,
			   progress->sources == 1 ? "" : "s");
	if (progress->total_files > 1)
		len += snprintf(line + len, cap - (size_t)len, "  file %" PRIu64 " of %" PRIu64,
				progress->done_files, progress->total_files);
	if (note[0] != '\0')
		snprintf(line + len, cap - (size_t)len, "  %s", note);
}

void
render_progress(const struct progress *progress, const char *below)
{
	char line[512];

	make_line(progress, line, sizeof(line));
	go_up();
	print_cut(line, strlen(line));
	while (below != NULL && *below != '\0') {
		size_t len = strcspn(below, "\n");

		putc('\n', stderr);
		print_cut(below, len);
		lines_below++;
		below += below[len] == '\n' ? len + 1 : len;
	}
	fputs("\033[J", stderr);
	fflush(stderr);
}

void
render_progress_end(void)
{
	go_up();
	fputs("\033[J", stderr);
	fflush(stderr);
}
