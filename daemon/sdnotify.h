/* SPDX-License-Identifier: MIT
 *
 * sdnotify.h - what systemd is told (sd_notify(3)), and the watchdog.  Without systemd all of it is nothing.
 * Mind's thread.
 */
#ifndef P2PD_SDNOTIFY_H
#define P2PD_SDNOTIFY_H

#include "loop.h"

void	sdnotify_ready(void);
/* RELOADING=1 with MONOTONIC_USEC, for Type=notify-reload; sdnotify_ready() ends it. */
void	sdnotify_reloading(void);
void	sdnotify_stopping(void);
void	sdnotify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Pings the watchdog from the mind at half its period, if systemd asked for one: a hung mind is restarted. */
struct sdnotify_watchdog;
struct sdnotify_watchdog *sdnotify_watchdog_new(struct loop *loop);	/* NULL where nobody asked */
void	sdnotify_watchdog_free(struct sdnotify_watchdog *watchdog);

#endif
