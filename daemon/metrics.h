/* SPDX-License-Identifier: MIT
 *
 * metrics.h - counters that only go up, for GET /metrics.  Any thread; relaxed atomics.
 */
#ifndef P2PD_METRICS_H
#define P2PD_METRICS_H

#include <stdint.h>

enum metric {
#define METRIC(symbol, name, labels, help) METRIC_##symbol,
#include "metrics.def"
#undef METRIC
	METRIC_COUNT
};

void		 metrics_add(enum metric metric, uint64_t amount);
uint64_t	 metrics_get(enum metric metric);
const char	*metrics_name(enum metric metric);
const char	*metrics_labels(enum metric metric);	/* without braces; "" for none */
const char	*metrics_help(enum metric metric);

#endif
