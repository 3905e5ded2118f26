/* SPDX-License-Identifier: MIT
 *
 * holdings_log.c - what happened to a holding, in order, and how to go on after it.
 *
 * A ring of numbered entries: this piece is verified, that piece is on its way to somebody, such a
 * peer follows.  Small contents and short lives are the most, so it begins small, is doubled
 * as long as it was never overwritten, and ends at HOLDINGS_LOG_MAX (a whole content's at
 * HOLDINGS_WHOLE_LOG_MAX).
 *
 * The number that an answer ends with has, from its top: the life of the log (24 random bits, made
 * with it), how many entries there were (39 bits), and whether the content was said to be
 * whole.  A number of another life, or older than the oldest entry, tells of itself that it cannot
 * be gone on after.  It is never 0.
 */
#include "holdings_inner.h"

#include <sys/random.h>

#include "clock.h"
#include "mem.h"

#define LOG_FIRST  64 /* entries that a log begins with */
#define KIND_SHIFT 32 /* of an entry: the value is below */
#define LIFE_SHIFT 40 /* of a `next` */
#define LIFE_MAX   ((1ull << (64 - LIFE_SHIFT)) - 1)
#define WHOLE_BIT  1u
#define COUNT_MASK ((1ull << (LIFE_SHIFT - 1)) - 1)

void
holding_restart(struct holding *holding)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = clock_us();
	/* Never 0, and no life twice in a row. */
	holding->life = holding->life + 1 + random % (LIFE_MAX - 1);
	holding->life = (holding->life - 1) % LIFE_MAX + 1;
	holding->log_end = 0;
}

enum holding_kind
holding_entry_kind(uint64_t entry)
{
	return (enum holding_kind)(entry >> KIND_SHIFT);
}

uint64_t
holding_entry_value(uint64_t entry)
{
	return entry & UINT32_MAX;
}

uint64_t
holding_entry(const struct holding *holding, uint64_t number)
{
	return holding->log[number % holding->log_room];
}

uint64_t
holding_log_begin(const struct holding *holding)
{
	return holding->log_end > holding->log_room ? holding->log_end - holding->log_room : 0;
}

static void
grow_log(struct holding *holding)
{
	size_t room = holding->log_room > 0 ? 2 * holding->log_room : LOG_FIRST;

	/* It was never full before, so every entry stays where it is. */
	holding->log = mem_grow(holding->log, room, sizeof(*holding->log));
	holding->log_room = room;
}

/* Everybody can have a whole one noted, and asked for, so it may cost less. */
static size_t
log_max(const struct holding *holding)
{
	return holding->reader != NULL ? HOLDINGS_LOG_MAX : HOLDINGS_WHOLE_LOG_MAX;
}

void
holding_log(struct holding *holding, enum holding_kind kind, uint64_t value)
{
	if (holding->log_end == holding->log_room && holding->log_room < log_max(holding))
		grow_log(holding);
	uint64_t *entry = &holding->log[holding->log_end++ % holding->log_room];
	*entry = (uint64_t)kind << KIND_SHIFT | value;
}

bool
holding_in_log(const struct holding *holding, enum holding_kind kind, uint64_t value,
	       uint64_t newest)
{
	uint64_t wanted = (uint64_t)kind << KIND_SHIFT | value;
	uint64_t begin = holding_log_begin(holding);

	for (uint64_t at = holding->log_end; at > begin && newest > 0; newest--)
		if (holding_entry(holding, --at) == wanted)
			return true;
	return false;
}

uint64_t
holding_next(const struct holding *holding, uint64_t number, bool is_whole)
{
	return holding->life << LIFE_SHIFT | number << 1 | (is_whole ? WHOLE_BIT : 0);
}

uint64_t
holding_next_number(uint64_t next)
{
	return next >> 1 & COUNT_MASK;
}

bool
holding_next_whole(uint64_t next)
{
	return (next & WHOLE_BIT) != 0;
}

bool
holding_knows(const struct holding *holding, uint64_t since)
{
	uint64_t number = holding_next_number(since);

	return since >> LIFE_SHIFT == holding->life && number <= holding->log_end &&
	       number >= holding_log_begin(holding);
}
