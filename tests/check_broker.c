/* SPDX-License-Identifier: MIT
 *
 * check_broker.c - what an url means, what the broker's confirms let go, and what is no notice.  A real broker is in
 * e2e/q01_broker.sh.
 */
#include "broker_inner.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_kit.h"
#include "clock.h"
#include "mem.h"
#include "metrics.h"
#include "wire_json.h"

/* --- the url --- */

static const struct {
	const char *text, *user, *password, *host, *vhost;
	unsigned port;
	bool is_tls;
} urls[] = {
	{ "amqp://h", "guest", NULL, "h", "/", 5672, false },
	{ "amqps://h", "guest", NULL, "h", "/", 5671, true },
	{ "amqp://h/", "guest", NULL, "h", "/", 5672, false },
	{ "amqp://h:1", "guest", NULL, "h", "/", 1, false },
	{ "amqp://h/%2f", "guest", NULL, "h", "/", 5672, false },
	{ "amqp://h/files", "guest", NULL, "h", "files", 5672, false },
	{ "amqp://u@h", "u", NULL, "h", "/", 5672, false },
	{ "amqp://u:p@h:7/v", "u", "p", "h", "v", 7, false },
	{ "amqp://u:@h", "u", "", "h", "/", 5672, false },
	{ "amqp://a%40b:p%3a%2F%25@h", "a@b", "p:/%", "h", "/", 5672, false },
	{ "amqp://u:p@ss@h", "u", "p@ss", "h", "/", 5672, false },
	{ "amqps://u:p@[::1]", "u", "p", "::1", "/", 5671, true },
	{ "amqp://[::1]:7/v", "guest", NULL, "::1", "v", 7, false },
	{ "amqp://192.0.2.1:7", "guest", NULL, "192.0.2.1", "/", 7, false },
};

START_TEST(test_an_url_is_what_it_says)
{
	struct amqp_url url;
	struct error err;
	ck_assert_int_eq(amqp_url_parse(urls[_i].text, &url, &err), P2P_OK);
	ck_assert_str_eq(url.user, urls[_i].user);
	ck_assert_int_eq(url.has_password, urls[_i].password != NULL);
	if (urls[_i].password != NULL)
		ck_assert_str_eq(url.password, urls[_i].password);
	ck_assert_str_eq(url.host, urls[_i].host);
	ck_assert_str_eq(url.vhost, urls[_i].vhost);
	ck_assert_uint_eq(url.port, urls[_i].port);
	ck_assert_int_eq(url.is_tls, urls[_i].is_tls);
}
END_TEST

static const char *const no_urls[] = {
	"",
	"h",
	"http://h",
	"AMQP://h",
	"amqp:/h",
	"amqp://",
	"amqp:///v",
	"amqp://u:S3cret@",
	"amqp://u:S3cret@:5672",
	"amqp://u:S3cret@h:0",
	"amqp://u:S3cret@h:65536",
	"amqp://u:S3cret@h:x",
	"amqp://u:S3cret@0x7f000001",
	"amqp://u:S3cret@h/a/b",
	"amqp://u:S3cret@h/v?heartbeat=1",
	"amqp://u:S3cret@h#x",
	"amqp://u:S3cret%@h",
	"amqp://u:S3cret%0@h",
	"amqp://u:S3cret%zz@h",
	"amqp://u:S3cret%00@h",
	"amqp://u:S3cret%0a@h",
	"amqp://u:S3cret@[::1",
	"amqp://u:S3cret@[h]",
};

START_TEST(test_what_is_no_url_is_refused_and_no_password_is_quoted)
{
	struct amqp_url url = { .port = 77 };
	struct error err = { 0 };
	ck_assert_int_eq(amqp_url_parse(no_urls[_i], &url, &err), P2P_BAD_REQUEST);
	ck_assert_uint_eq(url.port, 77);
	ck_assert_str_ne(err.text, "");
	ck_assert_ptr_null(strstr(err.text, "S3cret"));

	char *text = mem_format("[amqp]\nurl = %s\n", no_urls[_i]);
	ck_assert_ptr_null(config_parse("test.conf", text, strlen(text), &err));
	ck_assert_ptr_null(strstr(err.text, "S3cret"));
	free(text);
}
END_TEST

START_TEST(test_long_parts_of_an_url_are_refused)
{
	static const char *const forms[] = { "amqp://%s@h", "amqp://u:%s@h", "amqp://%s",
					     "amqp://h/%s" };
	char *part = mem_zero(1, 400);
	memset(part, 'a', 399);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct amqp_url url;
		struct error err;
		char *text = mem_format(forms[i], part);
		ck_assert_int_eq(amqp_url_parse(text, &url, &err), P2P_BAD_REQUEST);
		free(text);
	}
	free(part);
}
END_TEST

/* --- confirms --- */

/* Five that were sent, with the numbers 11 to 15 and the tags 4 to 8. */
static void
fill(struct publisher *publisher)
{
	*publisher = (struct publisher){ .first = BROKER_WINDOW - 2,
					 .count = 5,
					 .bytes = 50,
					 .first_tag = 4,
					 .arrived_no = 10,
					 .read_no = 15 };
	for (size_t i = 0; i < 5; i++)
		publisher->window[(publisher->first + i) % BROKER_WINDOW] =
		    (struct sent){ .no = 11 + i, .bytes = 10 };
}

static int
confirm(struct publisher *publisher, uint64_t tag, bool is_multiple)
{
	struct error err;
	return publisher_answered(
	    publisher,
	    &(struct link_news){ .what = LINK_CONFIRMED, .tag = tag, .is_multiple = is_multiple },
	    &err);
}

START_TEST(test_only_what_has_no_gap_before_it_has_arrived)
{
	struct publisher publisher;
	fill(&publisher);
	ck_assert_int_eq(confirm(&publisher, 5, false), P2P_OK);
	ck_assert_int_eq(confirm(&publisher, 8, false), P2P_OK);
	ck_assert_uint_eq(publisher.arrived_no, 10);
	ck_assert_int_eq(confirm(&publisher, 4, false), P2P_OK);
	ck_assert_uint_eq(publisher.arrived_no, 12);
	ck_assert_uint_eq(publisher.count, 3);
	ck_assert_uint_eq(publisher.bytes, 30);
	ck_assert_int_eq(confirm(&publisher, 7, true), P2P_OK);
	ck_assert_uint_eq(publisher.arrived_no, 15);
	ck_assert_uint_eq(publisher.count, 0);
	ck_assert_uint_eq(publisher.bytes, 0);
	ck_assert_uint_eq(publisher.first_tag, 9);
}
END_TEST

START_TEST(test_all_may_be_confirmed_by_the_last_or_by_none)
{
	struct publisher publisher;
	for (int i = 0; i < 2; i++) {
		fill(&publisher);
		ck_assert_int_eq(confirm(&publisher, i == 0 ? 8 : 0, true), P2P_OK);
		ck_assert_uint_eq(publisher.arrived_no, 15);
		ck_assert_uint_eq(publisher.count, 0);
	}
	ck_assert_int_eq(confirm(&publisher, 0, true), P2P_OK);
}
END_TEST

START_TEST(test_a_confirm_of_what_was_not_sent_is_no_confirm)
{
	static const struct {
		uint64_t tag;
		bool is_multiple;
	} wrong[] = { { 9, false },  { 9, true },           { 3, false },        { 0, false },
		      { 100, true }, { UINT64_MAX, false }, { UINT64_MAX, true } };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct publisher publisher;
		fill(&publisher);
		ck_assert_int_eq(confirm(&publisher, wrong[i].tag, wrong[i].is_multiple),
				 P2P_BAD_ANSWER);
		ck_assert_uint_eq(publisher.arrived_no, 10);
		ck_assert_uint_eq(publisher.count, 5);
	}
}
END_TEST

START_TEST(test_what_is_refused_goes_again_from_there_on)
{
	struct publisher publisher;
	struct error err;
	fill(&publisher);
	confirm(&publisher, 4, false);
	confirm(&publisher, 6, false);
	ck_assert_int_eq(publisher_answered(&publisher,
					    &(struct link_news){ .what = LINK_REFUSED, .tag = 5 },
					    &err),
			 P2P_UNREACHABLE);
	publisher_begin(&publisher);
	ck_assert_uint_eq(publisher.read_no, 11);
	ck_assert_uint_eq(publisher.count, 0);
	ck_assert_uint_eq(publisher.first_tag, 1);
	ck_assert(publisher.has_more);
}
END_TEST

START_TEST(test_a_broker_that_confirms_nothing_is_stuck)
{
	struct publisher publisher;
	uint64_t now_ms = clock_ms();
	fill(&publisher);
	publisher.moved_ms = now_ms;
	ck_assert(!publisher_is_stuck(&publisher, now_ms + BROKER_CONFIRM_MS));
	ck_assert(publisher_is_stuck(&publisher, now_ms + BROKER_CONFIRM_MS + 1));
	confirm(&publisher, 8, true);
	ck_assert(!publisher_is_stuck(&publisher, now_ms + 10 * BROKER_CONFIRM_MS));
}
END_TEST

/* --- messages --- */

START_TEST(test_a_routing_key_is_the_event_with_a_dot)
{
	char key[32];
	broker_routing_key(EVENT_FILE_ADDED, key);
	ck_assert_str_eq(key, "file.added");
	broker_routing_key(EVENT_EVENTS_LOST, key);
	ck_assert_str_eq(key, "events.lost");
	for (int kind = 0; kind < EVENT_KINDS; kind++) {
		broker_routing_key(kind, key);
		ck_assert_ptr_nonnull(strchr(key, '.'));
		ck_assert_ptr_null(strchr(key, '-'));
	}
}
END_TEST

START_TEST(test_a_message_is_the_event_under_an_id_of_its_own)
{
	const struct wire_message head = { .id = "p-1-2", .publisher = "p", .epoch = 3, .seq = 4 };
	char *text =
	    wire_message("{\"id\":\"9-9\",\"event\":\"file-added\",\"name\":\"\\u00e9\"}", &head);
	ck_assert_str_eq(text, "{\"id\":\"p-1-2\",\"publisher\":\"p\",\"event\":\"file-added\","
			       "\"name\":\"\xc3\xa9\",\"epoch\":3,\"seq\":4}");
	free(text);
	text = wire_message("no JSON", &(struct wire_message){ .id = "i", .publisher = "p" });
	ck_assert_str_eq(text, "{\"id\":\"i\",\"publisher\":\"p\"}");
	free(text);
}
END_TEST

/* --- notices --- */

static void
take(struct broker *broker, const char *text)
{
	notices_take(broker, text, strlen(text));
}

static char *
notice_of(const char *peer, uint64_t seq)
{
	return mem_format("{\"peer\":\"%s\",\"epoch\":1,\"seq\":%llu}", peer,
			  (unsigned long long)seq);
}

static struct broker *
deaf_broker(struct loop *loop, const char *self)
{
	struct broker *broker = mem_zero(1, sizeof(*broker));
	broker->parts = (struct broker_parts){ .loop = loop, .self = self };
	broker->inbox = mem_zero(1, sizeof(*broker->inbox));
	pthread_mutex_init(&broker->inbox->mu, NULL);
	broker->inbox->is_posted = true; /* nobody comes for them */
	return broker;
}

START_TEST(test_what_is_no_notice_is_counted_and_dropped)
{
	static const char *const rubbish[] = {
		"",
		"{",
		"[]",
		"null",
		"\xff\xfe",
		"{\"peer\":1}",
		"{\"peer\":\"../../etc\",\"epoch\":1,\"seq\":1}",
		"{\"peer\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"epoch\":-1,"
		"\"seq\":1}",
		"{\"peer\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"epoch\":1}",
		"{\"peer\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"epoch\":1,"
		"\"seq\":1e999}",
		"{\"peer\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"epoch\":1,"
		"\"seq\":1,\"lost\":true}",
	};
	struct broker *broker = deaf_broker(NULL, kit_peer("self"));
	uint64_t before = metrics_get(METRIC_AMQP_RUBBISH);
	size_t count = sizeof(rubbish) / sizeof(rubbish[0]);
	for (size_t i = 0; i < count; i++)
		take(broker, rubbish[i]);
	notices_take(broker, NULL, 0);
	ck_assert_uint_eq(metrics_get(METRIC_AMQP_RUBBISH), before + count + 1);
	ck_assert_uint_eq(broker->inbox->count, 0);
	free(broker->inbox);
	free(broker);
}
END_TEST

START_TEST(test_of_one_peer_the_newest_notice_waits_and_our_own_is_none)
{
	char self[PEER_ID_SIZE], other[PEER_ID_SIZE];
	strcpy(self, kit_peer("self"));
	strcpy(other, kit_peer("other"));
	struct broker *broker = deaf_broker(NULL, self);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		char *text = notice_of(other, seq);
		take(broker, text);
		free(text);
	}
	/* What comes late is not the newest, and what comes twice is nothing new. */
	for (uint64_t seq = 2; seq <= 3; seq++) {
		char *text = notice_of(other, seq);
		take(broker, text);
		free(text);
		ck_assert_uint_eq(broker->inbox->items[0].seq, 3);
	}
	char *text = notice_of(self, 9);
	take(broker, text);
	free(text);
	ck_assert_uint_eq(broker->inbox->count, 1);
	/* Of another epoch nobody can tell which is the newer: the peer is asked. */
	text = mem_format("{\"peer\":\"%s\",\"epoch\":2,\"seq\":1}", other);
	take(broker, text);
	free(text);
	ck_assert_uint_eq(broker->inbox->count, 1);
	ck_assert_uint_eq(broker->inbox->items[0].epoch, 2);
	free(broker->inbox);
	free(broker);
}
END_TEST

START_TEST(test_a_flood_of_notices_drops_the_oldest)
{
	char self[PEER_ID_SIZE];
	strcpy(self, kit_peer("self"));
	struct broker *broker = deaf_broker(NULL, self);
	uint64_t before = metrics_get(METRIC_AMQP_NOTICES_DROPPED);
	char seed[32];
	for (uint64_t i = 1; i <= BROKER_NOTICES_MAX + 10; i++) {
		snprintf(seed, sizeof(seed), "p%llu", (unsigned long long)i);
		char *text = notice_of(kit_peer(seed), i);
		take(broker, text);
		free(text);
	}
	ck_assert_uint_eq(broker->inbox->count, BROKER_NOTICES_MAX);
	ck_assert_uint_eq(broker->inbox->items[broker->inbox->first].seq, 11);
	ck_assert_uint_eq(metrics_get(METRIC_AMQP_NOTICES_DROPPED), before + 10);
	free(broker->inbox);
	free(broker);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("broker");
	TCase *tcase = tcase_create("broker");
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_an_url_is_what_it_says, 0, sizeof(urls) / sizeof(urls[0]));
	tcase_add_loop_test(tcase, test_what_is_no_url_is_refused_and_no_password_is_quoted, 0,
			    sizeof(no_urls) / sizeof(no_urls[0]));
	tcase_add_test(tcase, test_long_parts_of_an_url_are_refused);
	tcase_add_test(tcase, test_only_what_has_no_gap_before_it_has_arrived);
	tcase_add_test(tcase, test_all_may_be_confirmed_by_the_last_or_by_none);
	tcase_add_test(tcase, test_a_confirm_of_what_was_not_sent_is_no_confirm);
	tcase_add_test(tcase, test_what_is_refused_goes_again_from_there_on);
	tcase_add_test(tcase, test_a_broker_that_confirms_nothing_is_stuck);
	tcase_add_test(tcase, test_a_routing_key_is_the_event_with_a_dot);
	tcase_add_test(tcase, test_a_message_is_the_event_under_an_id_of_its_own);
	tcase_add_test(tcase, test_what_is_no_notice_is_counted_and_dropped);
	tcase_add_test(tcase, test_of_one_peer_the_newest_notice_waits_and_our_own_is_none);
	tcase_add_test(tcase, test_a_flood_of_notices_drops_the_oldest);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
