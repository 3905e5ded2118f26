/* SPDX-License-Identifier: MIT
 *
 * check_base.c - what everything else stands on: codes, errors, buffers, digests, time,
 * memory and the log.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "codes.h"
#include "digest.h"
#include "error.h"
#include "log.h"
#include "mem.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

START_TEST(test_blocks_hashed_side_by_side_are_those_hashed_one_by_one)
{
	enum { MOST = 40, LONGEST = 16384 };
	static const size_t lens[] = { 1, 55, 56, 64, 1000, LONGEST };
	unsigned char *data = mem_alloc(MOST * LONGEST);
	struct hasher *hasher = hasher_new();
	struct digest row[MOST], one;

	for (size_t i = 0; i < MOST * LONGEST; i++)
		data[i] = (unsigned char)((i * 2654435761u) >> 13);
	for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
		for (size_t count = 0; count <= MOST; count++) {
			hasher_blocks(hasher, data, lens[l], count, row);
			for (size_t i = 0; i < count; i++) {
				hasher_digest(hasher, data + i * lens[l], lens[l], &one);
				ck_assert(digest_equal(&row[i], &one));
			}
		}
	}
	hasher_free(hasher);
	free(data);
}
END_TEST

START_TEST(test_every_code_comes_back_from_its_slug)
{
	for (int code = P2P_CODES_START + 1; code < P2P_CODES_END; code++) {
		ck_assert_int_lt(code, 0);
		ck_assert_int_eq(code_of_slug(code_slug(code)), code);
		ck_assert_int_ge(code_http(code), 400);
		ck_assert_int_le(code_http(code), 599);
		ck_assert_uint_gt(strlen(code_title(code)), 0);
	}
}
END_TEST

START_TEST(test_what_is_no_code_is_internal)
{
	ck_assert_str_eq(code_slug(7), "internal");
	ck_assert_str_eq(code_slug(P2P_CODES_START), "internal");
	ck_assert_str_eq(code_slug(P2P_CODES_END), "internal");
	ck_assert_int_eq(code_of_slug("no-such-slug"), P2P_INTERNAL);
	ck_assert_int_eq(code_http(P2P_OK), 200);
	ck_assert_int_eq(code_http(P2P_NOT_FOUND), 404);
}
END_TEST

START_TEST(test_an_error_answers_its_code_and_keeps_its_text)
{
	struct error err;

	ck_assert_int_eq(error_set(&err, P2P_TIMEOUT, "peer %d", 7), P2P_TIMEOUT);
	ck_assert_int_eq(err.code, P2P_TIMEOUT);
	ck_assert_str_eq(err.text, "peer 7");
	ck_assert_int_eq(error_set(NULL, P2P_TIMEOUT, "peer %d", 7), P2P_TIMEOUT);
}
END_TEST

START_TEST(test_an_error_may_be_wrapped_in_itself)
{
	struct error err;

	error_set(&err, P2P_IO, "inner");
	error_set(&err, err.code, "outer: %s", err.text);
	ck_assert_int_eq(err.code, P2P_IO);
	ck_assert_str_eq(err.text, "outer: inner");
}
END_TEST

START_TEST(test_a_long_text_is_cut_on_a_whole_character)
{
	static const char *const characters[] = { "x", "\xc3\xa9", "\xe2\x82\xac",
						  "\xf0\x9f\x8e\x89" };
	struct error err;

	for (size_t i = 0; i < COUNT(characters); i++)
		for (size_t shift = 0; shift < 4; shift++) {
			size_t width = strlen(characters[i]);
			char text[2 * ERROR_TEXT_MAX] = "aaaa";

			text[shift] = '\0';
			while (strlen(text) < ERROR_TEXT_MAX + 8)
				strcat(text, characters[i]);
			error_set(&err, P2P_IO, "%s", text);

			size_t len = strlen(err.text);
			ck_assert_uint_ge(len, ERROR_TEXT_MAX - 4);
			ck_assert_uint_eq((len - shift) % width, 0);
			ck_assert_mem_eq(err.text, text, len);
		}
}
END_TEST

START_TEST(test_errno_becomes_a_code)
{
	static const struct {
		int number, code;
	} rows[] = {
		{ ENOSPC, P2P_NO_SPACE },
		{ EDQUOT, P2P_NO_SPACE },
		{ ENOENT, P2P_NOT_FOUND },
		{ ENOTDIR, P2P_NOT_FOUND },
		{ EACCES, P2P_FORBIDDEN },
		{ EPERM, P2P_FORBIDDEN },
		{ EROFS, P2P_FORBIDDEN },
		{ ELOOP, P2P_FORBIDDEN },
		{ EXDEV, P2P_FORBIDDEN },
		{ EEXIST, P2P_EXISTS },
		{ EISDIR, P2P_EXISTS },
		{ ENOTEMPTY, P2P_EXISTS },
		{ ENAMETOOLONG, P2P_BAD_NAME },
		{ EIO, P2P_IO },
		{ EMFILE, P2P_IO },
	};
	struct error err;

	for (size_t i = 0; i < COUNT(rows); i++) {
		errno = rows[i].number;
		ck_assert_int_eq(error_errno(&err, "cannot"), rows[i].code);
		ck_assert_int_eq(err.code, rows[i].code);
		ck_assert_int_eq(errno, rows[i].number);
	}
	errno = ENOENT;
	error_errno(&err, "cannot open '%s'", "a");
	ck_assert_str_eq(err.text, "cannot open 'a': No such file or directory");
}
END_TEST

START_TEST(test_a_long_name_does_not_push_the_reason_out)
{
	char name[2 * ERROR_TEXT_MAX];
	struct error err;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	errno = EIO;
	error_errno(&err, "cannot open '%s'", name);
	ck_assert_uint_eq(strlen(err.text), ERROR_TEXT_MAX - 1);
	ck_assert_ptr_nonnull(strstr(err.text, ": Input/output error"));
}
END_TEST

START_TEST(test_a_buffer_grows_to_its_maximum_and_no_further)
{
	struct buf buf;

	buf_init(&buf, 1000);
	for (int i = 0; i < 100; i++)
		buf_adds(&buf, "0123456789");
	ck_assert_uint_eq(buf.len, 1000);
	ck_assert(!buf.full);
	ck_assert_uint_eq(strlen(buf.data), 1000);
	ck_assert_uint_le(buf.cap, 1001);

	buf_add(&buf, "x", 1);
	ck_assert(buf.full);
	ck_assert_uint_eq(buf.len, 1000);
	buf_fini(&buf);
	ck_assert_ptr_null(buf.data);
}
END_TEST

START_TEST(test_a_full_buffer_holds_a_prefix_of_what_was_meant)
{
	struct buf buf;

	buf_init(&buf, 5);
	buf_adds(&buf, "abc");
	buf_addf(&buf, "%d", 123);
	buf_adds(&buf, "d");
	ck_assert(buf.full);
	ck_assert_str_eq(buf.data, "abc");

	buf_reset(&buf);
	ck_assert(!buf.full);
	ck_assert_str_eq(buf.data, "");
	buf_addf(&buf, "%s", "12345");
	ck_assert(!buf.full);
	ck_assert_str_eq(buf.data, "12345");
	buf_fini(&buf);
}
END_TEST

START_TEST(test_formatted_text_of_any_length_is_added)
{
	struct buf buf;
	size_t expected = 0;

	buf_init(&buf, 100000);
	for (int i = 0; i < 300; i++) {
		buf_addf(&buf, "%*d", i, 7);
		expected += i > 1 ? (size_t)i : 1;
		ck_assert_uint_eq(buf.len, expected);
		ck_assert_uint_eq(strlen(buf.data), expected);
		ck_assert_int_eq(buf.data[buf.len - 1], '7');
	}
	buf_fini(&buf);
}
END_TEST

START_TEST(test_bytes_are_dropped_from_the_front)
{
	struct buf buf;

	buf_init(&buf, 10);
	buf_drop(&buf, 0);
	buf_add(&buf, "a\0bcd", 5);
	buf_drop(&buf, 2);
	ck_assert_str_eq(buf.data, "bcd");
	buf_drop(&buf, 3);
	ck_assert_uint_eq(buf.len, 0);
	ck_assert_str_eq(buf.data, "");
	buf_fini(&buf);
}
END_TEST

START_TEST(test_a_given_string_is_terminated_and_leaves_an_empty_buffer)
{
	struct buf buf;

	buf_init(&buf, 10);
	char *nothing = buf_give(&buf);
	ck_assert_str_eq(nothing, "");
	free(nothing);

	buf_adds(&buf, "text");
	char *text = buf_give(&buf);
	ck_assert_str_eq(text, "text");
	ck_assert_uint_eq(buf.len, 0);
	ck_assert_ptr_null(buf.data);
	buf_adds(&buf, "0123456789");
	ck_assert(!buf.full);
	free(text);
	buf_fini(&buf);
}
END_TEST

START_TEST(test_sha256_gives_the_known_answers)
{
	static const struct {
		const char *text, *hex;
	} rows[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	struct digest digest;
	char hex[DIGEST_HEX_SIZE];

	for (size_t i = 0; i < COUNT(rows); i++) {
		hasher_digest(hasher_mine(), rows[i].text, strlen(rows[i].text), &digest);
		digest_hex(&digest, hex);
		ck_assert_str_eq(hex, rows[i].hex);
	}
}
END_TEST

START_TEST(test_a_pair_is_the_digest_of_both_and_may_overwrite_one)
{
	struct hasher *hasher = hasher_new();
	struct digest pair[2], expected;

	memset(pair[0].bytes, 1, DIGEST_BYTES);
	memset(pair[1].bytes, 2, DIGEST_BYTES);
	hasher_digest(hasher, pair, sizeof(pair), &expected);
	hasher_pair(hasher, &pair[0], &pair[1], &pair[0]);
	ck_assert(digest_equal(&pair[0], &expected));
	hasher_free(hasher);
	hasher_free(NULL);
}
END_TEST

START_TEST(test_hex_is_parsed_in_either_case_and_nothing_else)
{
	const char *lower = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	struct digest digest, upper, untouched = { .bytes = { 7 } };
	char hex[DIGEST_HEX_SIZE + 1];

	ck_assert(digest_parse_hex(lower, &digest));
	ck_assert(digest_parse_hex(
	    "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", &upper));
	ck_assert(digest_equal(&digest, &upper));
	digest_hex(&digest, hex);
	ck_assert_str_eq(hex, lower);

	hex[63] = '\0';
	ck_assert(!digest_parse_hex(hex, &untouched));
	ck_assert(!digest_parse_hex("", &untouched));
	strcpy(hex, lower);
	strcat(hex, "0");
	ck_assert(!digest_parse_hex(hex, &untouched));
	strcpy(hex, lower);
	hex[10] = 'g';
	ck_assert(!digest_parse_hex(hex, &untouched));
	ck_assert_uint_eq(untouched.bytes[0], 7);
}
END_TEST

START_TEST(test_base32_gives_the_known_answer)
{
	struct digest digest;
	char text[DIGEST_BASE32_SIZE];

	hasher_digest(hasher_mine(), "", 0, &digest);
	digest_base32(&digest, text);
	ck_assert_str_eq(text, "4oymiquy7qobjgx36tejs35zeqt24qpemsnzgtfeswmrw6csxbkq");
	ck_assert(digest_is_base32(text));

	memset(digest.bytes, 0, DIGEST_BYTES);
	digest_base32(&digest, text);
	ck_assert_str_eq(text, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}
END_TEST

START_TEST(test_a_peer_id_is_52_letters_with_zero_tail_bits)
{
	char id[] = "4oymiquy7qobjgx36tejs35zeqt24qpemsnzgtfeswmrw6csxbkq?";

	id[52] = '\0';
	ck_assert(digest_is_base32(id));
	id[51] = 'b';
	ck_assert(!digest_is_base32(id));
	id[51] = 'a';
	ck_assert(digest_is_base32(id));
	id[0] = '1';
	ck_assert(!digest_is_base32(id));
	id[0] = 'A';
	ck_assert(!digest_is_base32(id));
	id[0] = 'a';
	id[52] = 'a';
	ck_assert(!digest_is_base32(id));
	id[51] = '\0';
	ck_assert(!digest_is_base32(id));
	ck_assert(!digest_is_base32(""));
}
END_TEST

START_TEST(test_content_is_the_same_only_with_its_size)
{
	struct content_id a = { .size_bytes = 64 }, b = { .size_bytes = 64 };

	ck_assert(content_equal(&a, &b));
	b.size_bytes = 32768;
	ck_assert(!content_equal(&a, &b));
	b.size_bytes = 64;
	b.root.bytes[31] = 1;
	ck_assert(!content_equal(&a, &b));
}
END_TEST

static void *
hash_many(void *ret_hasher)
{
	struct digest digest = { { 0 } };

	*(struct hasher **)ret_hasher = hasher_mine();
	ck_assert_ptr_eq(hasher_mine(), *(struct hasher **)ret_hasher);
	for (int i = 0; i < 2000; i++)
		hasher_pair(hasher_mine(), &digest, &digest, &digest);

	char *hex = mem_alloc(DIGEST_HEX_SIZE);
	digest_hex(&digest, hex);
	return hex;
}

START_TEST(test_each_thread_has_a_hasher_of_its_own)
{
	pthread_t threads[4];
	struct hasher *hashers[4], *own;
	char *expected = hash_many(&own);

	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hash_many, &hashers[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		void *hex;

		pthread_join(threads[i], &hex);
		ck_assert_str_eq(hex, expected);
		ck_assert_ptr_ne(hashers[i], own);
		free(hex);
	}
	free(expected);
}
END_TEST

START_TEST(test_a_moment_is_written_as_rfc3339)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ 1795359845000, "2026-11-22T15:04:05Z" },
		{ 1795359845007, "2026-11-22T15:04:05.007Z" },
		{ 951782400000, "2000-02-29T00:00:00Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ -1000, "1969-12-31T23:59:59Z" },
		{ INT64_MAX, "292278994-08-17T07:12:55.807Z" },
		{ INT64_MIN, "-292275055-05-16T16:47:04.192Z" },
	};
	char text[CLOCK_RFC3339_SIZE];

	for (size_t i = 0; i < COUNT(rows); i++) {
		clock_rfc3339(rows[i].ms, text);
		ck_assert_str_eq(text, rows[i].text);
	}
}
END_TEST

START_TEST(test_the_monotonic_clock_never_goes_back)
{
	uint64_t before = clock_ms();

	for (int i = 0; i < 10000; i++) {
		uint64_t now = clock_ms();

		ck_assert_uint_ge(now, before);
		before = now;
	}
	ck_assert_int_lt(llabs((long long)(clock_wall_ms() / 1000 - time(NULL))), 2);
}
END_TEST

START_TEST(test_memory_of_no_size_is_still_memory)
{
	void *plain = mem_alloc(0), *zero = mem_zero(0, 8), *grown = mem_grow(mem_alloc(4), 0, 8);

	ck_assert_ptr_nonnull(plain);
	ck_assert_ptr_nonnull(zero);
	ck_assert_ptr_nonnull(grown);
	free(plain);
	free(zero);
	free(grown);
}
END_TEST

START_TEST(test_strings_are_copied_and_formatted)
{
	char *copy = mem_string("abc"), *made = mem_format("%s-%d", copy, 7);

	ck_assert_str_eq(copy, "abc");
	ck_assert_str_eq(made, "abc-7");
	ck_assert_ptr_null(mem_string(NULL));
	free(copy);
	free(made);
}
END_TEST

START_TEST(test_a_product_that_wraps_ends_the_process)
{
	/* Not a constant, or the compiler sees through it. */
	volatile size_t huge = SIZE_MAX / 2;

	free(mem_grow(NULL, huge, 16));
}
END_TEST

static int log_fd, saved_stderr;

/* From here on, what is logged goes to a file in memory. */
static void
capture_start(void)
{
	log_fd = memfd_create("log", MFD_CLOEXEC);
	saved_stderr = dup(STDERR_FILENO);
	ck_assert_int_ge(log_fd, 0);
	ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
}

/* Answers what was logged since capture_start(). */
static void
capture_end(char *ret, size_t cap)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);

	ssize_t len = pread(log_fd, ret, cap - 1, 0);
	close(log_fd);
	ck_assert_int_ge(len, 0);
	ret[len] = '\0';
}

START_TEST(test_a_line_begins_with_time_and_level)
{
	char text[4096];

	unsetenv("JOURNAL_STREAM");
	capture_start();
	log_open(LOG_LEVEL_INFO);
	log_warn("disk %s", "full");
	log_debug("not shown");
	capture_end(text, sizeof(text));

	/* 2026-11-22T15:04:05Z */
	ck_assert_int_eq(text[4], '-');
	ck_assert_int_eq(text[10], 'T');
	ck_assert_int_eq(text[19], 'Z');
	ck_assert_str_eq(text + 20, " warning: disk full\n");
}
END_TEST

START_TEST(test_under_the_journal_a_line_begins_with_the_level_alone)
{
	char stream[64], text[4096];
	struct stat st;

	capture_start();
	fstat(log_fd, &st);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open(LOG_LEVEL_DEBUG);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	capture_end(text, sizeof(text));
	ck_assert_str_eq(text, "<3>a\n<4>b\n<6>c\n<7>d\n");
}
END_TEST

START_TEST(test_a_journal_that_is_not_our_stderr_does_not_count)
{
	static const char *const streams[] = { "1:1", "", "x", "1", "1:", "1:1 " };
	char text[4096];

	for (size_t i = 0; i < COUNT(streams); i++) {
		setenv("JOURNAL_STREAM", streams[i], 1);
		capture_start();
		log_open(LOG_LEVEL_ERROR);
		log_error("a");
		log_warn("b");
		capture_end(text, sizeof(text));
		ck_assert_str_eq(text + 20, " error: a\n");
	}
}
END_TEST

START_TEST(test_a_hostile_name_cannot_forge_a_line)
{
	char text[4096];

	unsetenv("JOURNAL_STREAM");
	capture_start();
	log_open(LOG_LEVEL_INFO);
	log_info("%s", "x\n<3>forged\x1b[2J\xe2\x80\xae\xff \xc3\xa9");
	capture_end(text, sizeof(text));
	ck_assert_str_eq(text + 20, " info: x\\x0a<3>forged\\x1b[2J\\u{202e}\\xff \xc3\xa9\n");
}
END_TEST

START_TEST(test_a_long_line_is_cut_on_a_whole_character)
{
	char message[2 * LOG_LINE_MAX + 1], text[2 * LOG_LINE_MAX];

	unsetenv("JOURNAL_STREAM");
	for (size_t shift = 0; shift < 2; shift++) {
		message[0] = 'a';
		for (size_t i = shift; i + 2 < sizeof(message); i += 2)
			memcpy(message + i, "\xc3\xa9", 3);
		capture_start();
		log_open(LOG_LEVEL_INFO);
		log_info("%s", message);
		capture_end(text, sizeof(text));

		size_t len = strlen(text);
		ck_assert_uint_le(len, LOG_LINE_MAX);
		ck_assert_uint_ge(len, LOG_LINE_MAX - 1);
		ck_assert_ptr_null(strchr(text, '\\'));
		ck_assert_int_eq(text[len - 1], '\n');
		ck_assert_int_eq((unsigned char)text[len - 2], 0xa9);
	}
}
END_TEST

START_TEST(test_logging_keeps_errno)
{
	char text[4096];

	capture_start();
	close(STDERR_FILENO);
	errno = ENOENT;
	log_error("nobody hears this");
	ck_assert_int_eq(errno, ENOENT);
	capture_end(text, sizeof(text));
}
END_TEST

START_TEST(test_a_level_is_known_by_its_name)
{
	enum log_level level = LOG_LEVEL_INFO;

	ck_assert(log_level_parse("debug", &level));
	ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
	ck_assert(log_level_parse("error", &level));
	ck_assert_int_eq(level, LOG_LEVEL_ERROR);
	ck_assert(!log_level_parse("Error", &level));
	ck_assert(!log_level_parse("", &level));
	ck_assert_int_eq(level, LOG_LEVEL_ERROR);
}
END_TEST

static TCase *
make_values(void)
{
	TCase *tc = tcase_create("values");

	tcase_add_test(tc, test_blocks_hashed_side_by_side_are_those_hashed_one_by_one);

	tcase_add_test(tc, test_every_code_comes_back_from_its_slug);
	tcase_add_test(tc, test_what_is_no_code_is_internal);
	tcase_add_test(tc, test_an_error_answers_its_code_and_keeps_its_text);
	tcase_add_test(tc, test_an_error_may_be_wrapped_in_itself);
	tcase_add_test(tc, test_a_long_text_is_cut_on_a_whole_character);
	tcase_add_test(tc, test_errno_becomes_a_code);
	tcase_add_test(tc, test_a_long_name_does_not_push_the_reason_out);
	tcase_add_test(tc, test_a_buffer_grows_to_its_maximum_and_no_further);
	tcase_add_test(tc, test_a_full_buffer_holds_a_prefix_of_what_was_meant);
	tcase_add_test(tc, test_formatted_text_of_any_length_is_added);
	tcase_add_test(tc, test_bytes_are_dropped_from_the_front);
	tcase_add_test(tc, test_a_given_string_is_terminated_and_leaves_an_empty_buffer);
	tcase_add_test(tc, test_sha256_gives_the_known_answers);
	tcase_add_test(tc, test_a_pair_is_the_digest_of_both_and_may_overwrite_one);
	tcase_add_test(tc, test_hex_is_parsed_in_either_case_and_nothing_else);
	tcase_add_test(tc, test_base32_gives_the_known_answer);
	tcase_add_test(tc, test_a_peer_id_is_52_letters_with_zero_tail_bits);
	tcase_add_test(tc, test_content_is_the_same_only_with_its_size);
	tcase_add_test(tc, test_each_thread_has_a_hasher_of_its_own);
	tcase_add_test(tc, test_a_moment_is_written_as_rfc3339);
	tcase_add_test(tc, test_the_monotonic_clock_never_goes_back);
	return tc;
}

static TCase *
make_process(void)
{
	TCase *tc = tcase_create("process");

	tcase_add_test(tc, test_memory_of_no_size_is_still_memory);
	tcase_add_test(tc, test_strings_are_copied_and_formatted);
	tcase_add_test_raise_signal(tc, test_a_product_that_wraps_ends_the_process, SIGABRT);
	tcase_add_test(tc, test_a_line_begins_with_time_and_level);
	tcase_add_test(tc, test_under_the_journal_a_line_begins_with_the_level_alone);
	tcase_add_test(tc, test_a_journal_that_is_not_our_stderr_does_not_count);
	tcase_add_test(tc, test_a_hostile_name_cannot_forge_a_line);
	tcase_add_test(tc, test_a_long_line_is_cut_on_a_whole_character);
	tcase_add_test(tc, test_logging_keeps_errno);
	tcase_add_test(tc, test_a_level_is_known_by_its_name);
	return tc;
}

int
main(void)
{
	Suite *suite = suite_create("base");

	suite_add_tcase(suite, make_values());
	suite_add_tcase(suite, make_process());

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
