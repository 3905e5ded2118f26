/* SPDX-License-Identifier: MIT
 *
 * check_rpc_reflection.c - what reflection answers, without a connection: the method's replies are caught here, packed and read
 * again as a client would.  tests/e2e/g01 asks over a real one, for every name there is.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "reflection.pb-c.h"
#include "rpc_internal.h"

typedef Grpc__Reflection__V1alpha__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1alpha__ServerReflectionResponse Response;
#define ASK(what) GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWERED(what) \
	GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

/* A table of our own: the services are those of its rows. */
const struct rpc_method rpc_methods[] = {
	{ .path = "/p2p.v1.Files/Stat" },
	{ .path = "/p2p.v1.File/Stat" },
	{ .path = "/p2p.v1.Files/Search" },
	{ .path = "/p2p.v1.Events/Watch" },
};
const size_t rpc_method_count = sizeof(rpc_methods) / sizeof(rpc_methods[0]);

static Response *reply;

void
rpc_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(len);

	(void)call;
	ck_assert_ptr_null(reply);
	protobuf_c_message_pack(message, bytes);
	reply = grpc__reflection__v1alpha__server_reflection_response__unpack(NULL, len, bytes);
	ck_assert_ptr_nonnull(reply);
	free(bytes);
}

static void
forget(void)
{
	grpc__reflection__v1alpha__server_reflection_response__free_unpacked(reply, NULL);
	reply = NULL;
}

static void
ask(int kind, const char *text)
{
	Request request = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__INIT;
	struct error err;

	forget();
	request.host = (char *)"here";
	request.message_request_case = kind;
	request.file_by_filename = (char *)text; /* the union's strings are one */
	ck_assert_int_eq(rpc_reflect(NULL, &request.base, &err), RPC_MORE);
	ck_assert_ptr_nonnull(reply);
	ck_assert_str_eq(reply->valid_host, "here");
	ck_assert_int_eq(reply->original_request->message_request_case, kind);
}

/* The answer is the file of this name. */
static void
assert_file(const char *name)
{
	ck_assert_int_eq(reply->message_response_case, ANSWERED(FILE_DESCRIPTOR_RESPONSE));
	ck_assert_uint_eq(reply->file_descriptor_response->n_file_descriptor_proto, 1);
	ProtobufCBinaryData file = reply->file_descriptor_response->file_descriptor_proto[0];
	/* Its field 1, which comes first, shorter than 128 bytes. */
	ck_assert_uint_gt(file.len, 2 + strlen(name));
	ck_assert_uint_eq(file.data[0], 1 << 3 | 2);
	ck_assert_uint_eq(file.data[1], strlen(name));
	ck_assert_mem_eq(file.data + 2, name, strlen(name));
}

static void
assert_error(int grpc_status, const char *slug)
{
	ck_assert_int_eq(reply->message_response_case, ANSWERED(ERROR_RESPONSE));
	ck_assert_int_eq(reply->error_response->error_code, grpc_status);
	ck_assert_int_eq(strncmp(reply->error_response->error_message, slug, strlen(slug)), 0);
}

START_TEST(test_each_service_is_listed_once)
{
	static const char *const wanted[] = { "p2p.v1.Files", "p2p.v1.File", "p2p.v1.Events" };

	ask(ASK(LIST_SERVICES), "");
	ck_assert_int_eq(reply->message_response_case, ANSWERED(LIST_SERVICES_RESPONSE));
	ck_assert_uint_eq(reply->list_services_response->n_service, 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_str_eq(reply->list_services_response->service[i]->name, wanted[i]);
}
END_TEST

START_TEST(test_a_file_is_found_by_its_name)
{
	static const char *const names[] = { "p2p/v1/p2p.proto", "grpc/health/v1/health.proto",
					     "grpc/reflection/v1alpha/reflection.proto",
					     "grpc/reflection/v1/reflection.proto" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask(ASK(FILE_BY_FILENAME), names[i]);
		assert_file(names[i]);
	}
	static const char *const others[] = { "", "p2p.proto", "p2p/v1/p2p.prot",
					      "p2p/v1/p2p.proto2" };
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		ask(ASK(FILE_BY_FILENAME), others[i]);
		assert_error(GRPC_STATUS_NOT_FOUND, "not-found: ");
	}
}
END_TEST

START_TEST(test_a_file_is_found_by_what_it_defines)
{
	static const struct {
		const char *symbol, *file;
	} rows[] = {
		{ "p2p.v1.Files", "p2p/v1/p2p.proto" },
		{ "p2p.v1.Files.Upload", "p2p/v1/p2p.proto" },
		{ "p2p.v1.FileSpec", "p2p/v1/p2p.proto" },
		{ "p2p.v1.FileSpec.by", "p2p/v1/p2p.proto" },
		{ "p2p.v1.FileSpec.content", "p2p/v1/p2p.proto" },
		{ "p2p.v1.Match", "p2p/v1/p2p.proto" },
		{ "p2p.v1.MATCH_GLOB", "p2p/v1/p2p.proto" },
		{ "grpc.health.v1.HealthCheckResponse.ServingStatus",
		  "grpc/health/v1/health.proto" },
		{ "grpc.health.v1.HealthCheckResponse.SERVICE_UNKNOWN",
		  "grpc/health/v1/health.proto" },
		{ "grpc.reflection.v1alpha.ErrorResponse",
		  "grpc/reflection/v1alpha/reflection.proto" },
		{ "grpc.reflection.v1.ErrorResponse", "grpc/reflection/v1/reflection.proto" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask(ASK(FILE_CONTAINING_SYMBOL), rows[i].symbol);
		assert_file(rows[i].file);
	}
}
END_TEST

START_TEST(test_what_is_no_symbol_is_not_found)
{
	static const char *const others[] = { "",
					      ".",
					      "p2p",
					      "p2p.v1",
					      "p2p.v1.",
					      ".p2p.v1.Files",
					      "p2p.v1.File ",
					      "p2p.v1.Fil",
					      "p2p.v1.Files.",
					      "p2p.v1.Files.Uploa",
					      "p2p.v1.Files.Upload.x",
					      "p2p.v1..Files",
					      "p2p.v2.Files",
					      "p2p.v1.Match.MATCH_GLOB",
					      "Files",
					      "p2p.v1.Files/Upload" };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		ask(ASK(FILE_CONTAINING_SYMBOL), others[i]);
		assert_error(GRPC_STATUS_NOT_FOUND, "not-found: ");
	}
}
END_TEST

START_TEST(test_nothing_has_extensions)
{
	Grpc__Reflection__V1alpha__ExtensionRequest extension =
	    GRPC__REFLECTION__V1ALPHA__EXTENSION_REQUEST__INIT;

	extension.containing_type = (char *)"p2p.v1.File";
	extension.extension_number = 1;
	ask(ASK(FILE_CONTAINING_EXTENSION), (const char *)&extension);
	assert_error(GRPC_STATUS_NOT_FOUND, "not-found: ");
	ask(ASK(ALL_EXTENSION_NUMBERS_OF_TYPE), "p2p.v1.File");
	ck_assert_int_eq(reply->message_response_case, ANSWERED(ALL_EXTENSION_NUMBERS_RESPONSE));
	ck_assert_str_eq(reply->all_extension_numbers_response->base_type_name, "p2p.v1.File");
	ck_assert_uint_eq(reply->all_extension_numbers_response->n_extension_number, 0);
	ask(ASK(ALL_EXTENSION_NUMBERS_OF_TYPE), "p2p.v1.Files"); /* no message */
	assert_error(GRPC_STATUS_NOT_FOUND, "not-found: ");
}
END_TEST

START_TEST(test_a_question_of_no_known_kind_gets_an_error_and_the_stream_goes_on)
{
	ask(ASK(_NOT_SET), NULL);
	assert_error(GRPC_STATUS_INVALID_ARGUMENT, "bad-request: ");
}
END_TEST

START_TEST(test_the_end_of_the_questions_ends_the_call)
{
	struct error err;

	ck_assert_int_eq(rpc_reflect(NULL, NULL, &err), RPC_END);
	ck_assert_ptr_null(reply);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rpc_reflection");
	TCase *tcase = tcase_create("answers");

	tcase_add_checked_fixture(tcase, NULL, forget);
	tcase_add_test(tcase, test_each_service_is_listed_once);
	tcase_add_test(tcase, test_a_file_is_found_by_its_name);
	tcase_add_test(tcase, test_a_file_is_found_by_what_it_defines);
	tcase_add_test(tcase, test_what_is_no_symbol_is_not_found);
	tcase_add_test(tcase, test_nothing_has_extensions);
	tcase_add_test(tcase,
		       test_a_question_of_no_known_kind_gets_an_error_and_the_stream_goes_on);
	tcase_add_test(tcase, test_the_end_of_the_questions_ends_the_call);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
