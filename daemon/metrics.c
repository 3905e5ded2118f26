/* SPDX-License-Identifier: MIT
 *
 * metrics.c - the counters.
 *
 * One array for the process: what counts is spread over every thread, and a counter has no life of its own.
 * Nothing is decided by these numbers, so relaxed order is enough.
 */
#include "metrics.h"

#include <stdatomic.h>

static _Atomic uint64_t values[METRIC_COUNT];

static const struct {
	const char *name, *labels, *help;
} rows[] = {
#define METRIC(symbol, name, labels, help) { name, labels, help },
#include "metrics.def"
#undef METRIC
};

void
metrics_add(enum metric metric, uint64_t amount)
{
	atomic_fetch_add_explicit(&values[metric], amount, memory_order_relaxed);
}

uint64_t
metrics_get(enum metric metric)
{
	return atomic_load_explicit(&values[metric], memory_order_relaxed);
}

const char *
metrics_name(enum metric metric)
{
	return rows[metric].name;
}

const char *
metrics_labels(enum metric metric)
{
	return rows[metric].labels;
}

const char *
metrics_help(enum metric metric)
{
	return rows[metric].help;
}
