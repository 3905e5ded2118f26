/* SPDX-License-Identifier: MIT
 *
 * config_value.h - the values of a configuration file, from text.
 * For config*.c alone.  Any thread.
 *
 * Each answers 0 or P2P_BAD_REQUEST.  Where there is an `err` it gets the reason; elsewhere the
 * table of keys says what is accepted.
 */
#ifndef P2PD_CONFIG_VALUE_H
#define P2PD_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

/* Digits and nothing else. */
int	config_value_number(const char *text, uint64_t *ret);
/* Bytes: digits, then K, M, G or T (powers of 1024) or nothing. */
int	config_value_size(const char *text, uint64_t *ret_bytes);
/* Digits, then s, m, h or d, or nothing: seconds. */
int	config_value_seconds(const char *text, uint64_t *ret_s);
/* The same with ms too; without a unit: milliseconds. */
int	config_value_millis(const char *text, uint64_t *ret_ms);
/* yes, no, true, false, on, off, 1, 0. */
int	config_value_yesno(const char *text, bool *ret);
/* A host's name (RFC 1123, and `_`) or a literal address; no brackets, no port. */
int	config_value_host(const char *text, struct error *err);
/* "http://host:port" or "grpc://host:port", a `/` may follow.  Gives it without that (free()). */
int	config_value_url(const char *text, char **ret, struct error *err);
/* An absolute path without `.` and `..`.  Gives it without needless slashes (free()). */
int	config_value_path(const char *text, char **ret, struct error *err);

#endif
