/* SPDX-License-Identifier: MIT
 *
 * check_fetch_turn.c - whose turn it is: priorities, the front, and that nobody waits for ever.  Nothing is fetched: a test
 * begins and ends files by the counts that fetch_order.c keeps.
 */
#include "fetch_internal.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MANY 1000 /* files that a fetch has to begin */

static struct config config;
static struct fetches fetches;
static struct fetch list[16];
static size_t count;

static void
setup(void)
{
	memset(&config, 0, sizeof(config));
	memset(&fetches, 0, sizeof(fetches));
	memset(list, 0, sizeof(list));
	count = 0;
	config.fetch_parallel = 4;
	fetches.means.config = &config;
}

static struct fetch *
add(enum fetch_priority priority, size_t files)
{
	struct fetch *fetch = &list[count++];

	fetch->fetches = &fetches;
	fetch->id = count;
	fetch->priority = priority;
	fetch->queued_count = files;
	if (count > 1)
		list[count - 2].next = fetch;
	fetches.first = list;
	return fetch;
}

static void
move(struct fetch *fetch, int more)
{
	fetch->active_count += (unsigned)more;
	fetch->moving_count += (unsigned)more;
	fetches.moving_count += (unsigned)more;
}

/* The next turn is taken: answers whose it was, or NULL. */
static struct fetch *
begin(void)
{
	struct fetch *fetch = fetch_next_turn(&fetches);

	if (fetch == NULL)
		return NULL;
	fetch->queued_count--;
	fetch->begun_order = ++fetches.begun_count;
	move(fetch, 1);
	return fetch;
}

static void
end(struct fetch *fetch)
{
	ck_assert_uint_gt(fetch->moving_count, 0);
	move(fetch, -1);
}

static void
begin_all(void)
{
	while (begin() != NULL)
		;
}

START_TEST(test_equals_take_turns)
{
	struct fetch *a = add(FETCH_NORMAL, MANY), *b = add(FETCH_NORMAL, MANY),
		     *c = add(FETCH_NORMAL, MANY);

	ck_assert_ptr_eq(begin(), a);
	ck_assert_ptr_eq(begin(), b);
	ck_assert_ptr_eq(begin(), c);
	ck_assert_ptr_eq(begin(), a);
	ck_assert_ptr_null(begin());
	/* The one with the fewest under way, not the one whose file ended. */
	end(a);
	ck_assert_ptr_eq(begin(), b);
	/* Of as many the one that has waited longest. */
	end(b);
	end(b);
	ck_assert_ptr_eq(begin(), b);
	ck_assert_ptr_eq(begin(), c);
}
END_TEST

START_TEST(test_a_tree_does_not_hold_up_a_single_file)
{
	struct fetch *tree = add(FETCH_NORMAL, MANY);

	begin_all();
	ck_assert_uint_eq(tree->moving_count, 4);
	struct fetch *single = add(FETCH_NORMAL, 1);
	ck_assert_ptr_null(begin());
	end(tree);
	ck_assert_ptr_eq(begin(), single);
	end(tree);
	ck_assert_ptr_eq(begin(), tree);
}
END_TEST

START_TEST(test_a_higher_priority_goes_first_but_for_one_place)
{
	struct fetch *low = add(FETCH_LOW, MANY), *high = add(FETCH_HIGH, MANY);

	for (int i = 0; i < 3; i++)
		ck_assert_ptr_eq(begin(), high);
	ck_assert_ptr_eq(begin(), low);
	ck_assert_ptr_null(begin());
	for (int i = 0; i < 100; i++) {
		end(high);
		ck_assert_ptr_eq(begin(), high);
		end(low);
		ck_assert_ptr_eq(begin(), low);
	}
}
END_TEST

START_TEST(test_with_nobody_below_all_places_are_taken)
{
	struct fetch *high = add(FETCH_HIGH, MANY);

	add(FETCH_LOW, 0);
	begin_all();
	ck_assert_uint_eq(high->moving_count, 4);
}
END_TEST

START_TEST(test_of_one_place_none_is_kept)
{
	struct fetch *low = add(FETCH_LOW, MANY), *high = add(FETCH_HIGH, 2);

	config.fetch_parallel = 1;
	ck_assert_ptr_eq(begin(), high);
	ck_assert_ptr_null(begin());
	end(high);
	ck_assert_ptr_eq(begin(), high);
	end(high);
	ck_assert_ptr_eq(begin(), low);
}
END_TEST

START_TEST(test_what_is_under_way_below_holds_up_nobody_above)
{
	struct fetch *low = add(FETCH_LOW, MANY);

	begin_all();
	struct fetch *high = add(FETCH_HIGH, MANY);
	begin_all();
	ck_assert_uint_eq(high->moving_count, 3);
	ck_assert_uint_eq(low->moving_count, 4);
	/* What ends below is not begun again until there is a place. */
	for (int i = 0; i < 3; i++) {
		end(low);
		ck_assert_ptr_null(begin());
	}
	end(low);
	ck_assert_ptr_eq(begin(), low);
}
END_TEST

START_TEST(test_the_kept_place_is_taken_by_turns)
{
	struct fetch *low = add(FETCH_LOW, MANY), *normal = add(FETCH_NORMAL, MANY);

	add(FETCH_HIGH, MANY);
	begin_all();
	for (int i = 0; i < 10; i++) {
		struct fetch *last = low->moving_count > 0 ? low : normal;

		ck_assert_uint_eq(low->moving_count + normal->moving_count, 1);
		end(last);
		ck_assert_ptr_eq(begin(), last == low ? normal : low);
	}
}
END_TEST

START_TEST(test_the_front_goes_before_its_equals_alone)
{
	struct fetch *a = add(FETCH_NORMAL, MANY), *front = add(FETCH_NORMAL, 3),
		     *newer = add(FETCH_NORMAL, 1), *high = add(FETCH_HIGH, 2);

	config.fetch_parallel = 8;
	front->front = 1;
	newer->front = 2; /* put in front of the front */
	ck_assert_ptr_eq(begin(), high);
	ck_assert_ptr_eq(begin(), high);
	/* The first place below the highest that moves goes by turns; the others by rank. */
	ck_assert_ptr_eq(begin(), a);
	ck_assert_ptr_eq(begin(), newer);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_eq(begin(), front);
	ck_assert_ptr_eq(begin(), a);
	ck_assert_ptr_null(begin());
}
END_TEST

START_TEST(test_who_has_nothing_to_begin_has_no_turn)
{
	struct fetch *idle[6], *last;

	for (size_t i = 0; i < 6; i++)
		idle[i] = add(FETCH_HIGH, MANY);
	last = add(FETCH_LOW, 1);
	idle[0]->queued_count = 0;
	idle[1]->is_resting = true;
	idle[2]->is_passed = true;
	idle[3]->is_cancelled = true;
	idle[4]->state = FETCH_FAILED;
	idle[5]->active_count = config.fetch_parallel; /* all of them wait */
	ck_assert_ptr_eq(begin(), last);
	ck_assert_ptr_null(begin());
}
END_TEST

/* While others of higher priorities, and in front, always have more to begin. */
START_TEST(test_nobody_below_waits_for_ever)
{
	enum { FETCHES = 12 };
	unsigned waited[FETCHES] = { 0 };

	srand((unsigned)_i);
	add(FETCH_HIGH, SIZE_MAX);
	for (int i = 1; i < FETCHES; i++)
		add((enum fetch_priority)(rand() % 3 - 1), SIZE_MAX)->front =
		    (uint64_t)(rand() % 3);
	for (int turn = 0; turn < 20000; turn++) {
		struct fetch *fetch = begin();

		if (fetch == NULL) {
			do
				fetch = &list[rand() % FETCHES];
			while (fetch->moving_count == 0);
			end(fetch);
			continue;
		}
		ck_assert_uint_le(fetches.moving_count, config.fetch_parallel);
		/* About one turn in four is of the kept place, which they share. */
		for (int i = 0; i < FETCHES; i++) {
			waited[i] = &list[i] == fetch ? 0 : waited[i] + 1;
			if (list[i].priority < FETCH_HIGH)
				ck_assert_uint_lt(waited[i], 500);
		}
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fetch_turn");
	TCase *tcase = tcase_create("turns");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, test_equals_take_turns);
	tcase_add_test(tcase, test_a_tree_does_not_hold_up_a_single_file);
	tcase_add_test(tcase, test_a_higher_priority_goes_first_but_for_one_place);
	tcase_add_test(tcase, test_with_nobody_below_all_places_are_taken);
	tcase_add_test(tcase, test_of_one_place_none_is_kept);
	tcase_add_test(tcase, test_what_is_under_way_below_holds_up_nobody_above);
	tcase_add_test(tcase, test_the_kept_place_is_taken_by_turns);
	tcase_add_test(tcase, test_the_front_goes_before_its_equals_alone);
	tcase_add_test(tcase, test_who_has_nothing_to_begin_has_no_turn);
	tcase_add_loop_test(tcase, test_nobody_below_waits_for_ever, 1, 6);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
