/* SPDX-License-Identifier: MIT
 *
 * check_wires.c - two fake wires below one transport: each verb reaches the wire of its address, and nobody else.
 */
#include "wires.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define HTTP "http://10.0.0.1:5001"
#define GRPC "grpc://10.0.0.1:50051"

/* A wire that keeps what it was asked. */
struct fake {
	struct transport transport; /* first */
	unsigned greeted, left, noticed, pulled, layered, leaved, had, read, asked, cancelled;
	char address[NODE_ADDRESS_SIZE];
	void *arg;
	struct transport_request request;
};

static struct transport_request *
note(struct transport *transport, unsigned *count, const char *address, void *arg)
{
	struct fake *fake = (struct fake *)transport;
	++*count;
	snprintf(fake->address, sizeof(fake->address), "%s", address);
	fake->arg = arg;
	fake->request.wire = transport;
	return &fake->request;
}

#define COUNT_OF(transport, field) (&((struct fake *)(transport))->field)

static struct transport_request *
fake_greet(struct transport *transport, const char *address, const struct node_hello *hello,
	   transport_greet_fn fn, void *arg)
{
	(void)hello, (void)fn;
	return note(transport, COUNT_OF(transport, greeted), address, arg);
}

static struct transport_request *
fake_leave(struct transport *transport, const char *address, const char *self, transport_done_fn fn,
	   void *arg)
{
	(void)self, (void)fn;
	return note(transport, COUNT_OF(transport, left), address, arg);
}

static struct transport_request *
fake_notify(struct transport *transport, const char *address, const struct notice *notice,
	    transport_done_fn fn, void *arg)
{
	(void)notice, (void)fn;
	return note(transport, COUNT_OF(transport, noticed), address, arg);
}

static struct transport_request *
fake_pull(struct transport *transport, const char *address, const struct change_question *question,
	  transport_pull_fn fn, void *arg)
{
	(void)fn;
	ck_assert(question->epoch == 1 && question->since == 2 && question->limit == 3);
	return note(transport, COUNT_OF(transport, pulled), address, arg);
}

static struct transport_request *
fake_layer(struct transport *transport, const char *address, const struct content_id *content,
	   uint32_t piece_bytes, transport_layer_fn fn, void *arg)
{
	(void)content, (void)fn;
	ck_assert_uint_eq(piece_bytes, 7);
	return note(transport, COUNT_OF(transport, layered), address, arg);
}

static struct transport_request *
fake_leaves(struct transport *transport, const char *address, const struct content_id *content,
	    uint64_t first, uint32_t count, transport_layer_fn fn, void *arg)
{
	(void)content, (void)fn;
	ck_assert(first == 10 && count == 11);
	return note(transport, COUNT_OF(transport, leaved), address, arg);
}

static struct transport_request *
fake_have(struct transport *transport, const char *address, const struct holding_question *question,
	  transport_have_fn fn, void *arg)
{
	(void)fn;
	ck_assert(question->since == 6 && question->wait_ms == 8);
	return note(transport, COUNT_OF(transport, had), address, arg);
}

static struct transport_request *
fake_read(struct transport *transport, const char *address, const struct content_id *content,
	  uint64_t offset, uint64_t len, const struct transport_sink *sink, transport_done_fn fn,
	  void *arg)
{
	(void)content, (void)sink, (void)fn;
	ck_assert(offset == 4 && len == 5);
	return note(transport, COUNT_OF(transport, read), address, arg);
}

static struct transport_request *
fake_directories(struct transport *transport, const char *address,
		 struct directory_question *question, transport_done_fn fn, void *arg)
{
	(void)fn;
	ck_assert_uint_eq(question->count, 12);
	return note(transport, COUNT_OF(transport, asked), address, arg);
}

static void
fake_cancel(struct transport_request *request)
{
	++*COUNT_OF(request->wire, cancelled);
}

static const struct transport_ops fake_ops = { .name = "fake",
					       .greet = fake_greet,
					       .leave = fake_leave,
					       .notify = fake_notify,
					       .pull = fake_pull,
					       .layer = fake_layer,
					       .leaves = fake_leaves,
					       .have = fake_have,
					       .read = fake_read,
					       .directories = fake_directories,
					       .cancel = fake_cancel };

/* What the done functions were told. */
struct told {
	unsigned count;
	int code;
	char text[ERROR_TEXT_MAX];
};

static void
on_done(void *arg, int code, const struct error *err)
{
	struct told *told = arg;
	told->count++;
	told->code = code;
	snprintf(told->text, sizeof(told->text), "%s", err->text);
}

static void
on_greet(void *arg, int code, const struct error *err, const struct transport_greeting *greeting)
{
	ck_assert_ptr_null(greeting);
	on_done(arg, code, err);
}

static void
on_pull(void *arg, int code, const struct error *err, struct change_page *page)
{
	ck_assert_ptr_null(page);
	on_done(arg, code, err);
}

static void
on_layer(void *arg, int code, const struct error *err, const struct digest *layer, size_t count)
{
	ck_assert(layer == NULL && count == 0);
	on_done(arg, code, err);
}

static void
on_have(void *arg, int code, const struct error *err, struct holding_answer *answer)
{
	ck_assert_ptr_null(answer);
	on_done(arg, code, err);
}

/* Every verb once to that address; answers the last request. */
static struct transport_request *
ask_all(struct transport *wires, const char *address, struct told *told)
{
	struct node_hello hello = { .view = { .is_told = false } };
	struct notice notice = { .epoch = 1 };
	struct content_id content = { .size_bytes = 9 };
	struct holding_question question = { .since = 6, .wait_ms = 8 };
	struct transport_sink sink = { .feed = NULL };
	struct change_question changes = { .peer = "peer", .epoch = 1, .since = 2, .limit = 3 };
	static struct directory_question directories = { .count = 12 };
	wires->ops->greet(wires, address, &hello, on_greet, told);
	wires->ops->leave(wires, address, "self", on_done, told);
	wires->ops->notify(wires, address, &notice, on_done, told);
	wires->ops->pull(wires, address, &changes, on_pull, told);
	wires->ops->layer(wires, address, &content, 7, on_layer, told);
	wires->ops->leaves(wires, address, &content, 10, 11, on_layer, told);
	wires->ops->have(wires, address, &question, on_have, told);
	wires->ops->directories(wires, address, &directories, on_done, told);
	return wires->ops->read(wires, address, &content, 4, 5, &sink, on_done, told);
}

static bool
was_asked_all(const struct fake *fake, unsigned times)
{
	return fake->greeted == times && fake->left == times && fake->noticed == times &&
	       fake->pulled == times && fake->layered == times && fake->leaved == times &&
	       fake->had == times && fake->read == times && fake->asked == times;
}

START_TEST(test_each_verb_goes_by_the_wire_of_its_address)
{
	struct loop *loop = loop_new(NULL);
	struct fake rest = { .transport.ops = &fake_ops }, rpc = { .transport.ops = &fake_ops };
	struct transport *wires = wires_new(loop, &rest.transport, &rpc.transport);
	struct told told = { 0 };

	struct transport_request *request = ask_all(wires, HTTP, &told);
	ck_assert(was_asked_all(&rest, 1) && was_asked_all(&rpc, 0));
	ck_assert_str_eq(rest.address, HTTP);
	ck_assert_ptr_eq(rest.arg, &told);
	ck_assert_ptr_eq(request->wire, &rest.transport);

	request = ask_all(wires, GRPC, &told);
	ck_assert(was_asked_all(&rest, 1) && was_asked_all(&rpc, 1));
	ck_assert_str_eq(rpc.address, GRPC);
	wires->ops->cancel(request);
	ck_assert(rest.cancelled == 0 && rpc.cancelled == 1);
	ck_assert_uint_eq(told.count, 0);
	wires_free(wires);
	loop_free(loop);
}
END_TEST

START_TEST(test_without_a_wire_its_addresses_are_unreachable_and_that_is_told_later)
{
	struct loop *loop = loop_new(NULL);
	struct fake fake = { .transport.ops = &fake_ops };
	struct told told = { 0 };
	struct transport *wires = wires_new(loop, &fake.transport, NULL);

	struct transport_request *request = ask_all(wires, GRPC, &told);
	ck_assert_ptr_nonnull(request);
	ck_assert_uint_eq(told.count, 0);
	for (int i = 0; i < 10; i++)
		loop_turn(loop, 0);
	ck_assert_uint_eq(told.count, 9);
	ck_assert_int_eq(told.code, P2P_UNREACHABLE);
	ck_assert_ptr_nonnull(strstr(told.text, GRPC));
	ck_assert(was_asked_all(&fake, 0));
	wires_free(wires);

	wires = wires_new(loop, NULL, &fake.transport);
	ask_all(wires, HTTP, &told);
	for (int i = 0; i < 10; i++)
		loop_turn(loop, 0);
	ck_assert_uint_eq(told.count, 18);
	ck_assert_ptr_nonnull(strstr(told.text, HTTP));
	ck_assert(was_asked_all(&fake, 0));
	wires_free(wires);
	loop_free(loop);
}
END_TEST

START_TEST(test_a_refused_request_can_be_cancelled)
{
	struct loop *loop = loop_new(NULL);
	struct told told = { 0 };
	struct transport *wires = wires_new(loop, NULL, NULL);

	wires->ops->cancel(ask_all(wires, GRPC, &told));
	ck_assert_uint_eq(told.count, 0);
	for (int i = 0; i < 10; i++)
		loop_turn(loop, 0);
	ck_assert_uint_eq(told.count, 9);
	ck_assert_int_eq(told.code, P2P_CANCELLED); /* the last one */
	wires_free(wires);
	loop_free(loop);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("wires");
	TCase *tcase = tcase_create("wires");
	tcase_add_test(tcase, test_each_verb_goes_by_the_wire_of_its_address);
	tcase_add_test(tcase,
		       test_without_a_wire_its_addresses_are_unreachable_and_that_is_told_later);
	tcase_add_test(tcase, test_a_refused_request_can_be_cancelled);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
