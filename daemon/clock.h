/* SPDX-License-Identifier: MIT
 *
 * clock.h - what time it is.  Any thread.
 *
 * Whatever is measured or waited for uses the monotonic clock; the wall clock is
 * only shown to people and never decides what is fresh.
 */
#ifndef P2PD_CLOCK_H
#define P2PD_CLOCK_H

#include <stdint.h>

/* Milliseconds since some fixed moment; never goes back. */
uint64_t	clock_ms(void);
/* The same in microseconds, for what is measured. */
uint64_t	clock_us(void);
/* Milliseconds since 1970-01-01 UTC by the system's wall clock. */
int64_t		clock_wall_ms(void);

#define CLOCK_RFC3339_SIZE	32
/* "2026-11-22T15:04:05Z" of `wall_ms` (with .mmm when ms are not 0). */
void		clock_rfc3339(int64_t wall_ms, char ret[CLOCK_RFC3339_SIZE]);

#endif
