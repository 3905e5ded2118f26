/* SPDX-License-Identifier: MIT
 *
 * line.h - split, quote and frame one line of the control protocol
 * (p2pd-control(7)).  No I/O.  Any thread.
 *
 * A line is words and key=value pairs divided by blanks (spaces).  A value, or a word,
 * that holds a blank, a quote, a backslash or a control character stands
 * in "..." with \" \\ \n \t \xNN inside.
 */
#ifndef P2PD_LINE_H
#define P2PD_LINE_H

#include <stdbool.h>
#include <stddef.h>

#define LINE_MAX_BYTES	8192	/* of one line, the LF included */
#define LINE_MAX_WORDS	64	/* of one request */

/* One parsed line; the pointers point into `text`, or into static storage. */
struct line {
	char text[2 * LINE_MAX_BYTES];		/* unquoted words, NUL after each */
	size_t word_count;
	const char *words[LINE_MAX_WORDS];	/* plain words, in order */
	size_t pair_count;
	const char *keys[LINE_MAX_WORDS];
	const char *values[LINE_MAX_WORDS];
};

/*
 * Parses `len` bytes (without LF) into `ret`.  Refuses NUL, CR and other control
 * characters outside of an escape, an open quote, an unknown escape, an escape
 * that makes a NUL, invalid UTF-8, more than LINE_MAX_WORDS words, a key that
 * stands twice, and more than LINE_MAX_BYTES.
 * Keys are [a-z][a-z0-9_-]*; a word with `=` whose left side is no key is a plain word.
 * A word that begins with a quote is always a plain word, whatever it holds.
 * 0, or -1 with a sentence in *ret_why (static storage); then *ret is an empty line.
 */
int		 line_parse(const char *data, size_t len, struct line *ret, const char **ret_why);

/* The value of `key`, or NULL.  Borrowed from `line`. */
const char	*line_value(const struct line *line, const char *key);

/*
 * Writes `word` to out[cap], quoted where it must be, with NUL.  Bytes that are no
 * valid UTF-8 become \xNN.  Answers the length without NUL, or cap if it does not fit
 * (out is then an empty string).
 */
size_t		 line_quote(const char *word, char *out, size_t cap);

/*
 * Writes `text` (UTF-8 or not) to out[cap] so that a terminal shows it and nothing else
 * happens: control characters (C0, C1, DEL), bidirectional and invisible format
 * characters, and bytes that are no valid UTF-8 become \xNN or \u{NNNN}; backslash is
 * doubled.  Cuts at cap on a whole character; always NUL.  Answers the length.
 */
size_t		 line_escape(const char *text, char *out, size_t cap);

/*
 * Takes apart a reply line "CCC-rest", "CCC rest" or "CCC": the code into *ret_code,
 * whether it is the final one into *ret_final, and the rest.
 * NULL if the line is none.
 */
const char	*line_reply(const char *line, int *ret_code, bool *ret_final);

#endif
