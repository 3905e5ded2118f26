/* SPDX-License-Identifier: MIT
 *
 * check_config.c - what a configuration file may say, what is refused and how, and that the
 * example and the manual page say the same as the table of keys.
 *
 * The example and the manual page are read from $srcdir, by default from the current directory.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static struct config *
parse(const char *text)
{
	struct error err = { 0 };
	struct config *config = config_parse("test.conf", text, strlen(text), &err);

	ck_assert_msg(config != NULL, "%s: %s", text, err.text);
	return config;
}

/* The text must be refused with something in its error. */
static void
refuse_bytes(const char *text, size_t len, const char *part)
{
	struct error err = { 0 };
	struct config *config = config_parse("test.conf", text, len, &err);

	ck_assert_msg(config == NULL, "accepted: %s", text);
	ck_assert_int_lt(err.code, 0);
	ck_assert_msg(strstr(err.text, part) != NULL, "\"%s\" is not in: %s", part, err.text);
	ck_assert_ptr_null(config_parse("test.conf", text, len, NULL));
}

static void
refuse(const char *text, const char *part)
{
	refuse_bytes(text, strlen(text), part);
}

/* Root takes off its crown, and takes it back: with the traces that leak detection stumbles at. */
static void
drop_root(void)
{
	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(65534), 0);
}

static void
restore_root(void)
{
	if (geteuid() == getuid())
		return;
	ck_assert_int_eq(seteuid(getuid()), 0);
	prctl(PR_SET_DUMPABLE, 1);
}

/* Somebody who is not root, and only these directories. */
static void
be_a_user(void)
{
	static const char *const variables[] = {
		"STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_CONFIG_HOME",
		"XDG_STATE_HOME",  "XDG_DATA_HOME",     "XDG_RUNTIME_DIR",
	};

	for (int i = 0; i < COUNT(variables); i++)
		unsetenv(variables[i]);
	setenv("HOME", "/home/someone", 1);
	drop_root();
}

/* Defaults. */

START_TEST(test_without_a_file_every_default_holds)
{
	struct error err = { 0 };
	struct config *config = config_load(NULL, &err);

	ck_assert_msg(config != NULL, "%s", err.text);
	ck_assert_ptr_null(config->source);
	ck_assert_uint_gt(strlen(config->node_name), 0);
	ck_assert_int_eq(config->node_log, LOG_LEVEL_INFO);
	ck_assert_int_eq(config->share_remote, REMOTE_UPLOAD);
	ck_assert_uint_eq(config->share_rescan_s, 600);
	ck_assert_uint_eq(config->share_settle_ms, 500);
	ck_assert_uint_eq(config->share_reserve_bytes, 64u << 20);
	ck_assert_uint_eq(config->rest_listen.count, 1);
	ck_assert_str_eq(config->rest_listen.items[0], "127.0.0.1:5001");
	ck_assert_uint_eq(config->rest_host.count, 0);
	ck_assert_uint_eq(config->rest_connections, 1024);
	ck_assert_uint_eq(config->rest_per_address, 32);
	ck_assert_uint_eq(config->rest_header_timeout_s, 10);
	ck_assert_uint_eq(config->rest_upload_max, 1ull << 40);
	ck_assert_uint_eq(config->grpc_listen.count, 1);
	ck_assert_str_eq(config->grpc_listen.items[0], "127.0.0.1:50051");
	ck_assert_ptr_null(config->control_group);
	ck_assert_uint_eq(config->network_seed.count, 0);
	ck_assert_uint_eq(config->network_advertise.count, 0);
	ck_assert_int_eq(config->network_transport, TRANSPORT_AUTO);
	ck_assert_uint_eq(config->network_heartbeat_s, 5);
	ck_assert_uint_eq(config->network_forget_s, 7 * 86400);
	ck_assert_uint_eq(config->network_connections, 2);
	ck_assert_uint_eq(config->network_upload_limit, 0);
	ck_assert_uint_eq(config->network_download_limit, 0);
	ck_assert_uint_eq(config->network_upload_limit_per_peer, 0);
	ck_assert_uint_eq(config->network_download_limit_per_peer, 0);
	ck_assert_ptr_null(config->network_congestion);
	ck_assert_uint_eq(config->fetch_parallel, 8);
	ck_assert(!config->security_open_network);
	config_unref(config);
	config_unref(NULL);
}
END_TEST

static void
check_places(const char *file, const char *state, const char *share, const char *socket)
{
	struct config *config = parse("");
	char *path = config_default_path();

	ck_assert_str_eq(path, file);
	ck_assert_str_eq(config->node_state, state);
	ck_assert_str_eq(config->share_directory, share);
	ck_assert_str_eq(config->control_socket, socket);
	free(path);
	config_unref(config);
}

START_TEST(test_a_user_has_the_xdg_directories)
{
	be_a_user();
	check_places("/home/someone/.config/p2pd/p2pd.conf", "/home/someone/.local/state/p2pd",
		     "/home/someone/.local/share/p2pd/share",
		     "/home/someone/.local/state/p2pd/p2pd.sock");

	setenv("XDG_CONFIG_HOME", "/x/config/", 1);
	setenv("XDG_STATE_HOME", "/x/state/", 1);
	setenv("XDG_DATA_HOME", "/x/data", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	check_places("/x/config//p2pd/p2pd.conf", "/x/state/p2pd", "/x/data/p2pd/share",
		     "/run/user/7/p2pd/p2pd.sock");

	setenv("XDG_STATE_HOME", "relative", 1); /* does not count, says XDG */
	check_places("/x/config//p2pd/p2pd.conf", "/home/someone/.local/state/p2pd",
		     "/x/data/p2pd/share", "/run/user/7/p2pd/p2pd.sock");
	restore_root();
}
END_TEST

START_TEST(test_a_service_has_the_systems_directories)
{
	be_a_user();
	setenv("STATE_DIRECTORY", "/var/lib/p2pd:/var/lib/other", 1);
	setenv("RUNTIME_DIRECTORY", "/run/p2pd", 1);
	check_places(SYSCONFDIR "/p2pd/p2pd.conf", "/var/lib/p2pd", "/var/lib/p2pd/share",
		     "/run/p2pd/p2pd.sock");
	restore_root();
}
END_TEST

START_TEST(test_root_has_the_systems_directories)
{
	if (geteuid() != 0)
		return;
	unsetenv("STATE_DIRECTORY");
	unsetenv("RUNTIME_DIRECTORY");
	setenv("XDG_RUNTIME_DIR", "/run/user/0", 1);
	check_places(SYSCONFDIR "/p2pd/p2pd.conf", "/var/lib/p2pd", "/var/lib/p2pd/share",
		     "/run/p2pd/p2pd.sock");
}
END_TEST

/* What is accepted. */

START_TEST(test_values_are_read_in_every_accepted_spelling)
{
	struct config *config = parse("; a comment\n"
				      "# another\n"
				      "   ; and one that is indented\n"
				      "\n"
				      "[node]\n"
				      "name = h\xc3\xa9l\xc3\xa8ne's peer ; not of the name\n"
				      "state=//srv//state/\n"
				      "log  =\tdebug\t\n"
				      "[share] ; a comment\n"
				      "directory = /srv/a;b # c\n"
				      "remote = all\n"
				      "rescan = 2h\n"
				      "settle = 3s\n"
				      "reserve = 10G\n"
				      "[rest]\n"
				      "listen = [::1]:0\n"
				      "listen = 127.8.9.1:65535\n"
				      "listen = localhost:80\n"
				      "host = files.example.org\n"
				      "host = 192.0.2.1\n"
				      "host = 2001:db8::1\n"
				      "header_timeout = 30\n"
				      "upload_max = 12345\n"
				      "[grpc]\n"
				      "listen =\n"
				      "[control]\n"
				      "group = p2p-users\n"
				      "[network]\n"
				      "seed = http://host-a.example:5001\n"
				      "seed = http://[2001:db8::7]:5001/\n"
				      "seed = grpc://host-b.example:50051/\n"
				      "seed = grpc://host-a.example:5001\n"
				      "advertise = grpc://[2001:db8::8]:50051\n"
				      "advertise = http://[2001:db8::8]:50051\n"
				      "transport = grpc\n"
				      "forget = 1d\n"
				      "congestion = reno\n"
				      "upload_limit = 4M\n"
				      "download_limit = 1T\n"
				      "upload_limit_per_peer = 100\n"
				      "download_limit_per_peer = 512K\n"
				      "[security]\n"
				      "open_network = On\n"
				      "[rest]\n"
				      "connections = 2");

	ck_assert_str_eq(config->source, "test.conf");
	ck_assert_str_eq(config->node_name, "h\xc3\xa9l\xc3\xa8ne's peer");
	ck_assert_str_eq(config->node_state, "/srv/state");
	ck_assert_int_eq(config->node_log, LOG_LEVEL_DEBUG);
	ck_assert_str_eq(config->share_directory, "/srv/a;b # c");
	ck_assert_int_eq(config->share_remote, REMOTE_ALL);
	ck_assert_uint_eq(config->share_rescan_s, 7200);
	ck_assert_uint_eq(config->share_settle_ms, 3000);
	ck_assert_uint_eq(config->share_reserve_bytes, 10ull << 30);
	ck_assert_uint_eq(config->rest_listen.count, 3);
	ck_assert_str_eq(config->rest_listen.items[2], "localhost:80");
	ck_assert_uint_eq(config->rest_host.count, 3);
	ck_assert_uint_eq(config->rest_header_timeout_s, 30);
	ck_assert_uint_eq(config->rest_upload_max, 12345);
	ck_assert_uint_eq(config->rest_connections, 2);
	ck_assert_uint_eq(config->grpc_listen.count, 0);
	ck_assert_str_eq(config->control_group, "p2p-users");
	ck_assert_uint_eq(config->network_seed.count, 4);
	ck_assert_str_eq(config->network_seed.items[2], "grpc://host-b.example:50051");
	ck_assert_uint_eq(config->network_advertise.count, 2);
	ck_assert_str_eq(config->network_advertise.items[0], "grpc://[2001:db8::8]:50051");
	ck_assert_int_eq(config->network_transport, TRANSPORT_GRPC);
	ck_assert_str_eq(config->network_seed.items[1], "http://[2001:db8::7]:5001");
	ck_assert_uint_eq(config->network_forget_s, 86400);
	ck_assert_str_eq(config->network_congestion, "reno");
	ck_assert_uint_eq(config->network_upload_limit, 4u << 20);
	ck_assert_uint_eq(config->network_download_limit, 1ull << 40);
	ck_assert_uint_eq(config->network_upload_limit_per_peer, 100);
	ck_assert_uint_eq(config->network_download_limit_per_peer, 512u << 10);
	ck_assert(config->security_open_network);
	config_unref(config);
}
END_TEST

START_TEST(test_a_byte_order_mark_and_crlf_are_accepted)
{
	struct config *config =
	    parse("\xEF\xBB\xBF[node]\r\nname = x\r\n\r\n[share]\r\nrescan = 0");

	ck_assert_str_eq(config->node_name, "x");
	ck_assert_uint_eq(config->share_rescan_s, 0);
	config_unref(config);
	refuse("[node]\n\xEF\xBB\xBFname = x\n", "test.conf:2:"); /* only at the beginning */
	refuse("[node]\nname = x\ry\n", "test.conf:2:");
}
END_TEST

START_TEST(test_both_spellings_of_yes_and_no_are_known)
{
	static const char *const yes[] = { "yes", "true", "on", "1", "YES" };
	static const char *const no[] = { "no", "false", "off", "0", "Off" };
	char text[64];

	for (int i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "[security]\nopen_network = %s",
			 i < 5 ? yes[i] : no[i - 5]);
		struct config *config = parse(text);
		ck_assert_int_eq(config->security_open_network, i < 5);
		config_unref(config);
	}
}
END_TEST

/* A path that makes the line "directory = /aaa" as long as wanted. */
static char *
line_of(size_t len)
{
	static const char begin[] = "[share]\ndirectory = /";
	size_t before = strlen("[share]\n");
	char *text = malloc(before + len + 2);

	memset(text, 'a', before + len);
	memcpy(text, begin, strlen(begin));
	memcpy(text + before + len, "\n", 2);
	return text;
}

START_TEST(test_a_line_may_have_1023_bytes_and_not_more)
{
	static const size_t good[] = { 199, 200, 201, 1000, 1022, 1023 };
	static const size_t bad[] = { 1024, 1025, 10000 };

	for (int i = 0; i < COUNT(good); i++) {
		char *text = line_of(good[i]);
		struct config *config = parse(text);
		ck_assert_uint_eq(strlen(config->share_directory),
				  good[i] - strlen("directory = "));
		config_unref(config);
		free(text);
	}
	for (int i = 0; i < COUNT(bad); i++) {
		char *text = line_of(bad[i]);
		refuse(text, "test.conf:2: the line has");
		free(text);
	}
}
END_TEST

START_TEST(test_the_tail_of_a_long_comment_is_no_setting)
{
	char text[700];

	memset(text, 'x', sizeof(text));
	memcpy(text, "#", 1);
	strcpy(text + 200, "\n[security]\nopen_network = no\n");
	config_unref(parse(text));

	/* Where a parser with a small buffer would begin anew. */
	memset(text, ' ', 500);
	memcpy(text, "[node]\nname = x ;", 17);
	strcpy(text + 210, "log = debug\n");
	struct config *config = parse(text);
	ck_assert_int_eq(config->node_log, LOG_LEVEL_INFO);
	config_unref(config);
}
END_TEST

/* What is refused. */

static const struct {
	const char *text, *part;
} bad[] = {
	/* sections and keys */
	{ "[nod]\n", "test.conf:1: there is no section [nod]; there are [node] [share]" },
	{ "[]\n", "test.conf:1:" },
	{ "[ node ]\n", "test.conf:1:" },
	{ "[node\nname = x\n", "test.conf:1: a section needs a closing bracket" },
	{ "[node ; x]\n", "test.conf:1:" },
	{ "[node] name = x\n", "test.conf:1: something follows" },
	{ "\n\nname = x\n", "test.conf:3: name stands before the first [section]" },
	{ "[node]\nnames = x\n", "test.conf:2: there is no key names in [node]; there are name, " },
	{ "[node]\nlisten = x\n", "there is one in [rest]" },
	{ "[node]\nName = x\n", "test.conf:2: there is no key Name" },
	{ "[node]\nname = x\nlog = info\nname = x\n",
	  "test.conf:4: [node] name is given a second" },
	{ "[node]\nname = x\n[rest]\n[node]\nname = y\n", "test.conf:5:" },
	/* shapes of lines */
	{ "[node]\nname\n", "test.conf:2: this is neither" },
	{ "[node]\nname: x\n", "test.conf:2: this is neither" },
	{ "[node]\n= x\n", "test.conf:2: this is neither" },
	{ "[node]\nname ; = x\n", "test.conf:2: " },
	{ "[node]\nname = x\n  more\n", "test.conf:3: the line is indented" },
	{ "[node]\n name = x\n", "test.conf:2: the line is indented" },
	{ "[node]\n\tname = x\n", "test.conf:2: the line is indented" },
	{ " [node]\n", "test.conf:1: the line is indented" },
	{ "[node]\nname = a\x01z\n", "test.conf:2: the line has a control character (0x01)" },
	{ "[node]\nname = a\x1b[31m\n", "test.conf:2: " },
	{ "; \x7f\n", "test.conf:1: " },
	/* empty */
	{ "[node]\nname =\n", "test.conf:2: [node] name has no value" },
	{ "[share]\nrescan = ; often\n", "test.conf:2: [share] rescan has no value" },
	{ "[control]\ngroup =\n", "test.conf:2:" },
	{ "[rest]\nlisten =\nlisten = 127.0.0.1:1\n",
	  "test.conf:3: [rest] listen is given as noth" },
	{ "[rest]\nlisten = 127.0.0.1:1\nlisten =\n",
	  "test.conf:3: [rest] listen is given as noth" },
	{ "[rest]\nlisten =\nlisten =\n", "test.conf:3:" },
	/* numbers */
	{ "[rest]\nupload_max = 10GBB\n",
	  "test.conf:2: [rest] upload_max = 10GBB; accepted is a s" },
	{ "[rest]\nupload_max = 10g\n", "test.conf:2:" },
	{ "[rest]\nupload_max = -1\n", "test.conf:2:" },
	{ "[rest]\nupload_max = +1\n", "test.conf:2:" },
	{ "[rest]\nupload_max = 0x10\n", "test.conf:2:" },
	{ "[rest]\nupload_max = 1e9\n", "test.conf:2:" },
	{ "[rest]\nupload_max = 1 G\n", "test.conf:2:" },
	{ "[rest]\nupload_max = K\n", "test.conf:2:" },
	{ "[rest]\nupload_max = 18446744073709551616\n", "test.conf:2:" },
	{ "[rest]\nupload_max = 18446744073709551615\n", "test.conf:2:" },
	{ "[rest]\nupload_max = 16777217T\n", "test.conf:2:" },
	{ "[rest]\nupload_max = 99999999999999999999999999\n", "test.conf:2:" },
	{ "[rest]\nconnections = 4294967298\n", "test.conf:2:" },
	{ "[rest]\nconnections = 1\n",
	  "test.conf:2: [rest] connections = 1; accepted is a number" },
	{ "[rest]\nconnections = 1K\n", "test.conf:2:" },
	{ "[rest]\nheader_timeout = 0\n", "test.conf:2:" },
	{ "[rest]\nheader_timeout = 5 s\n", "test.conf:2:" },
	{ "[rest]\nheader_timeout = 5w\n", "test.conf:2:" },
	{ "[share]\nrescan = 31d\n", "test.conf:2:" },
	{ "[share]\nrescan = 500ms\n", "test.conf:2:" },
	{ "[share]\nsettle = 61s\n", "test.conf:2:" },
	{ "[network]\nconnections = 9\n", "test.conf:2:" },
	{ "[security]\nopen_network = maybe\n", "accepted is yes or no" },
	{ "[security]\nopen_network = \"yes\"\n", "accepted is yes or no" },
	/* words */
	{ "[node]\nlog = loud\n", "accepted is error, warning, info or debug" },
	{ "[share]\nremote = write\n", "accepted is read, upload or all" },
	{ "[network]\ntransport = http\n", "accepted is auto, grpc or rest" },
	{ "[network]\ntransport = GRPC\n", "accepted is auto, grpc or rest" },
	{ "[network]\ntransport = rest+grpc\n", "accepted is auto, grpc or rest" },
	{ "[network]\ntransport =\n", "test.conf:2:" },
	{ "[node]\nname = a/b\n", "test.conf:2:" },
	{ "[node]\nname = ..\n", "test.conf:2:" },
	{ "[node]\nname = a\xff\n", "test.conf:2:" },
	{ "[node]\nname = a\xe2\x80\xae"
	  "b\n",
	  "test.conf:2:" },
	{ "[node]\nname = 1234567890123456789012345678901234567890123456789012345678901234\n",
	  "accepted is a name of 1 to 63 bytes" },
	{ "[node]\nstate = var/lib\n", "is no absolute path" },
	{ "[node]\nstate = /var/../etc\n", "in it" },
	{ "[node]\nstate = /var/.\n", "in it" },
	{ "[control]\nsocket = /01234567890123456789012345678901234567890123456789"
	  "012345678901234567890123456789012345678901234567890123456\n",
	  "accepted is an absolute path of at most 107 bytes" },
	{ "[control]\ngroup = a b\n", "test.conf:2:" },
	{ "[control]\ngroup = -x\n", "test.conf:2:" },
	{ "[network]\ncongestion = ../reno\n", "test.conf:2:" },
	{ "[network]\ncongestion = abcdefghijklmnop\n", "test.conf:2:" },
	/* addresses */
	{ "[rest]\nlisten = 5001\n", "is not of the form host:port" },
	{ "[rest]\nlisten = :5001\n", "has no host" },
	{ "[rest]\nlisten = ::1:5001\n", "test.conf:2:" },
	{ "[rest]\nlisten = [::1]\n", "is not of the form" },
	{ "[rest]\nlisten = [::1:5001\n", "is not of the form" },
	{ "[rest]\nlisten = [127.0.0.1]:5001\n", "is neither a host's name nor an address" },
	{ "[rest]\nlisten = 127.0.0.1:65536\n", "is no port from 0 to 65535" },
	{ "[rest]\nlisten = 127.0.0.1:\n", "is no port" },
	{ "[rest]\nlisten = 127.0.0.1:http\n", "is no port" },
	{ "[rest]\nlisten = 127.0.0.1:-1\n", "is no port" },
	{ "[rest]\nlisten = 127.0.0.256:1\n", "is neither a host's name nor an address" },
	{ "[rest]\nlisten = 127.1:1\n", "is neither a host's name nor an address" },
	{ "[rest]\nlisten = 0x7f000001:1\n", "is neither a host's name nor an address" },
	{ "[rest]\nlisten = 2130706433:1\n", "is neither a host's name nor an address" },
	{ "[rest]\nlisten = *:5001\n", "is neither a host's name nor an address" },
	{ "[rest]\nlisten = 127.0.0.1:1\nlisten = 127.0.0.1:1\n", "test.conf:3:" },
	{ "[rest]\nhost = a:5001\n", "is neither a host's name nor an address" },
	{ "[rest]\nhost = [::1]\n", "is neither a host's name nor an address" },
	{ "[rest]\nhost = a..b\n", "is neither a host's name nor an address" },
	{ "[rest]\nhost = -a\n", "is neither a host's name nor an address" },
	{ "[network]\nseed = host:5001\n", "does not begin with http://" },
	{ "[network]\nseed = https://host:5001\n", "does not begin with http://" },
	{ "[network]\nseed = file:///etc/passwd\n", "does not begin with http://" },
	{ "[network]\nseed = gopher://host:1\n", "does not begin with http://" },
	{ "[network]\nseed = grpcs://host:1\n", "does not begin with http:// or grpc://" },
	{ "[network]\nseed = GRPC://host:1\n", "does not begin with" },
	{ "[network]\nseed = dns:///host:1\n", "does not begin with" },
	{ "[network]\nseed = grpc://host\n", "is not of the form host:port" },
	{ "[network]\nseed = grpc://host:0\n", "port 0" },
	{ "[network]\nseed = grpc://http://host:1\n", "test.conf:2:" },
	{ "[network]\nadvertise = grpc://0.0.0.0:1\n", "nobody can be reached at 0.0.0.0" },
	{ "[network]\nseed = grpc://a:1\nseed = grpc://a:1/\n", "test.conf:3:" },
	{ "[network]\nseed = http://host\n", "is not of the form host:port" },
	{ "[network]\nseed = http://host:0\n", "port 0" },
	{ "[network]\nseed = http://host:1/path\n", "is no port" },
	{ "[network]\nseed = http://host:1//\n", "is no port" },
	{ "[network]\nseed = http://host:1?q\n", "is no port" },
	{ "[network]\nseed = http://host:1#f\n", "is no port" },
	{ "[network]\nseed = http://user@host:1\n", "is neither" },
	{ "[network]\nseed = http://user:word@host:1\n", "is no port" },
	{ "[network]\nseed = http://0.0.0.0:1\n", "nobody can be reached at 0.0.0.0" },
	{ "[network]\nseed = http://[::]:1\n", "nobody can be reached at ::" },
	{ "[network]\nseed = http://a:1\nseed = http://a:1/\n", "test.conf:3:" },
	/* contradictions */
	{ "[rest]\nlisten = 127.0.0.1:1\nlisten = 0.0.0.0:1\nlisten = [::1]:1\n",
	  "test.conf:3: [rest] listen = 0.0.0.0:1 is a network address" },
	{ "[rest]\nlisten = 127.0.0.1:1\n[grpc]\nlisten = [::1]:1\nlisten = 127.0.0.1:1\n",
	  "test.conf:5: [rest] and [grpc] cannot both listen" },
	{ "[network]\nforget = 1m\nheartbeat = 60\n", "test.conf:2: [network] forget" },
	{ "[node]\nstate = /srv/s/p2pd\n[share]\ndirectory = /srv/s\n",
	  "test.conf:4: [node] state" },
	{ "[node]\nstate = /srv/s\n[share]\ndirectory = /srv/s/\n", "private key" },
	{ "[share]\ndirectory = /\n", "private key" },
};

START_TEST(test_a_bad_file_is_refused_with_its_line_and_what_is_accepted)
{
	refuse(bad[_i].text, bad[_i].part);
}
END_TEST

START_TEST(test_a_nul_is_refused_and_hides_nothing)
{
	static const char text[] = "[node]\nname = x\0y\nlog = bad\n";
	static const char comment[] = "# a comment\0[node]\n";

	refuse_bytes(text, sizeof(text) - 1, "test.conf:2: the line has a control character (NUL");
	refuse_bytes(comment, sizeof(comment) - 1, "test.conf:1:");
}
END_TEST

static const char *const network[] = {
	"0.0.0.0:1",   "192.0.2.1:1",          "[::]:1", "[2001:db8::1]:1", "host.example:1",
	"128.0.0.1:1", "[::ffff:192.0.2.1]:1",
};

START_TEST(test_a_network_address_needs_open_network)
{
	char text[128];

	for (int i = 0; i < 2; i++) {
		const char *section = i == 0 ? "rest" : "grpc";
		snprintf(text, sizeof(text), "[%s]\nlisten = %s\n", section, network[_i]);
		refuse(text, "test.conf:2:");
		refuse(text, "set open_network = yes in [security] at your own risk");
		snprintf(text, sizeof(text), "[%s]\nlisten = %s\n[security]\nopen_network = yes\n",
			 section, network[_i]);
		config_unref(parse(text));
	}
}
END_TEST

START_TEST(test_a_list_holds_64_values_and_not_more)
{
	char text[65 * 32], *at = text + sprintf(text, "[rest]\n");

	for (int i = 0; i < CONFIG_LIST_MAX; i++)
		at += sprintf(at, "host = h%d\n", i);
	struct config *config = parse(text);
	ck_assert_uint_eq(config->rest_host.count, CONFIG_LIST_MAX);
	config_unref(config);
	sprintf(at, "host = more\n");
	refuse(text, "test.conf:66:");
}
END_TEST

/* Files. */

static char dir[64];

static const char *
path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void
make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/check_config.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void
remove_dir(void)
{
	static const char *const names[] = { "a.conf", "fifo", "secret", "large" };

	for (int i = 0; i < COUNT(names); i++)
		unlink(path_of(names[i]));
	rmdir(dir);
}

static void
write_file(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
}

static void
refuse_file(const char *path, int code)
{
	struct error err = { 0 };

	ck_assert_ptr_null(config_load(path, &err));
	ck_assert_int_eq(err.code, code);
	ck_assert_msg(strstr(err.text, path) != NULL, "%s", err.text);
}

START_TEST(test_a_file_is_loaded_and_named_in_errors)
{
	struct error err = { 0 };

	write_file("a.conf", "[node]\nname = from file\n");
	struct config *config = config_load(path_of("a.conf"), &err);
	ck_assert_msg(config != NULL, "%s", err.text);
	ck_assert_str_eq(config->node_name, "from file");
	ck_assert_str_eq(config->source, path_of("a.conf"));
	config_unref(config);
	write_file("a.conf", "");
	config_unref(config_load(path_of("a.conf"), NULL));
	write_file("a.conf", "[node]\nnope = 1\n");
	refuse_file(path_of("a.conf"), P2P_BAD_REQUEST);
}
END_TEST

START_TEST(test_what_is_no_readable_regular_file_is_refused)
{
	refuse_file(path_of("missing"), P2P_NOT_FOUND);
	refuse_file(dir, P2P_FORBIDDEN);
	refuse_file("/dev/zero", P2P_FORBIDDEN);
	ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
	refuse_file(path_of("fifo"), P2P_FORBIDDEN); /* and nobody waits for a writer */

	write_file("secret", "[node]\n");
	ck_assert_int_eq(chmod(path_of("secret"), 0), 0);
	drop_root();
	refuse_file(path_of("secret"), P2P_FORBIDDEN);
	restore_root();
}
END_TEST

START_TEST(test_a_file_of_more_than_256_kib_is_refused)
{
	write_file("large", "");
	ck_assert_int_eq(truncate(path_of("large"), CONFIG_FILE_MAX + 1), 0);
	refuse_file(path_of("large"), P2P_TOO_LARGE);
	ck_assert_int_eq(truncate(path_of("large"), 1ll << 30), 0);
	refuse_file(path_of("large"), P2P_TOO_LARGE);

	char *text = malloc(CONFIG_FILE_MAX + 1);
	memset(text, '\n', CONFIG_FILE_MAX + 1);
	config_unref(config_parse("x", text, CONFIG_FILE_MAX, NULL));
	ck_assert_ptr_null(config_parse("x", text, CONFIG_FILE_MAX + 1, NULL));
	free(text);
}
END_TEST

/* Reload. */

START_TEST(test_a_reload_takes_what_it_can_and_names_the_rest)
{
	struct config *now = parse("[node]\nname = a\nlog = info\n[rest]\nlisten = 127.0.0.1:1\n"
				   "[network]\nseed = http://a:1\n[control]\ngroup = old\n");
	struct config *next = parse("[node]\nname = b\nlog = debug\n[rest]\nlisten = 127.0.0.1:1\n"
				    "listen = 127.0.0.1:2\n[network]\nseed = http://b:1\n"
				    "transport = rest\nupload_limit = 3M\n"
				    "[share]\nreserve = 1G\nsettle = 1s\n[security]\n"
				    "open_network = yes\n");
	struct buf restart;

	buf_init(&restart, 4096);
	struct config *merged = config_merge(now, next, &restart);
	ck_assert_str_eq(restart.data, "[node] name\n[share] settle\n[rest] listen\n"
				       "[control] group\n[security] open_network\n");
	ck_assert_str_eq(merged->node_name, "a");
	ck_assert_int_eq(merged->node_log, LOG_LEVEL_DEBUG);
	ck_assert_uint_eq(merged->rest_listen.count, 1);
	ck_assert_str_eq(merged->network_seed.items[0], "http://b:1");
	ck_assert_int_eq(merged->network_transport, TRANSPORT_REST);
	ck_assert_uint_eq(merged->network_upload_limit, 3u << 20);
	ck_assert_uint_eq(merged->share_reserve_bytes, 1u << 30);
	ck_assert_uint_eq(merged->share_settle_ms, 500);
	ck_assert_str_eq(merged->control_group, "old");
	ck_assert(!merged->security_open_network);
	config_unref(now);
	config_unref(next);
	ck_assert_str_eq(merged->node_name, "a"); /* it is its own */
	buf_fini(&restart);
	config_unref(merged);
}
END_TEST

START_TEST(test_a_reload_of_the_same_file_changes_nothing)
{
	struct config *now = parse("[node]\nname = a\n"), *next = parse("[node]\nname = a\n");
	struct buf restart;

	buf_init(&restart, 4096);
	struct config *merged = config_merge(now, next, &restart);
	ck_assert_uint_eq(restart.len, 0);
	ck_assert_ptr_eq(config_ref(merged), merged);
	config_unref(merged);
	ck_assert_str_eq(merged->node_name, "a");
	config_unref(merged);
	config_unref(config_merge(now, next, NULL));
	config_unref(now);
	config_unref(next);
}
END_TEST

/* Addresses. */

START_TEST(test_loopback_is_told_from_the_rest)
{
	static const char *const near[] = { "127.0.0.1", "127.255.0.9", "::1",
					    "localhost", "LocalHost",   "::ffff:127.0.0.1" };
	static const char *const far[] = {
		"0.0.0.0", "::",      "128.0.0.1",          "10.0.0.1",
		"fe80::1", "example", "127.0.0.1.example",  "",
		"127.1",   "[::1]",   "::ffff:192.0.2.127", "localhost."
	};

	for (int i = 0; i < COUNT(near); i++)
		ck_assert_msg(config_is_loopback(near[i]), "%s", near[i]);
	for (int i = 0; i < COUNT(far); i++)
		ck_assert_msg(!config_is_loopback(far[i]), "%s", far[i]);
}
END_TEST

START_TEST(test_an_address_is_split_or_nothing_is_touched)
{
	char host[10] = "untouched";
	uint16_t port = 7;

	ck_assert_int_eq(config_split_address("[::1]:5001", host, sizeof(host), &port, NULL), 0);
	ck_assert_str_eq(host, "::1");
	ck_assert_uint_eq(port, 5001);
	ck_assert_int_eq(config_split_address("a-b.c:0", host, sizeof(host), &port, NULL), 0);
	ck_assert_str_eq(host, "a-b.c");
	ck_assert_uint_eq(port, 0);
	ck_assert_int_eq(config_split_address("123456789a:1", host, sizeof(host), &port, NULL),
			 P2P_BAD_REQUEST);
	ck_assert_int_eq(config_split_address("b:65536", host, sizeof(host), &port, NULL),
			 P2P_BAD_REQUEST);
	ck_assert_int_eq(config_split_address("", host, sizeof(host), &port, NULL),
			 P2P_BAD_REQUEST);
	ck_assert_str_eq(host, "a-b.c");
	ck_assert_uint_eq(port, 0);
}
END_TEST

/* The table, the example and the manual page. */

static char *
read_tree(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	char *text = calloc(1, 1 << 20);

	snprintf(path, sizeof(path), "%s/%s", srcdir != NULL ? srcdir : ".", name);
	FILE *file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s", path);
	ck_assert_uint_lt(fread(text, 1, (1 << 20) - 1, file), (1 << 20) - 1);
	fclose(file);
	return text;
}

/* "#key = value" as the example must have it, or "key = value". */
static void
format_setting(char ret[256], const char *before, const struct config_key *key)
{
	snprintf(ret, 256, "%s%s =%s%s", before, key->key, key->fallback[0] != '\0' ? " " : "",
		 key->fallback);
}

START_TEST(test_the_example_has_every_key_at_its_default_and_nothing_else)
{
	char *text = read_tree("etc/p2pd.conf");
	char expected[256], section[64] = "";
	struct config_key key;
	size_t index = 0;

	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (line[0] == '[') {
			snprintf(section, sizeof(section), "%s", line);
			continue;
		}
		ck_assert_msg(line[0] == '#', "%s", line); /* all of it is commented out */
		if (line[1] == ' ' || line[1] == '\0')
			continue;
		ck_assert_msg(config_key(index++, &key), "There is no key for: %s", line);
		snprintf(expected, sizeof(expected), "[%s]", key.section);
		ck_assert_str_eq(section, expected);
		format_setting(expected, "#", &key);
		ck_assert_str_eq(line, expected);
	}
	ck_assert_msg(!config_key(index, &key), "[%s] %s is missing", key.section, key.key);
	free(text);
}
END_TEST

START_TEST(test_the_example_means_the_defaults_commented_out_or_not)
{
	char *text = read_tree("etc/p2pd.conf");
	struct config *defaults, *example;
	struct config_key key;
	struct buf differs, settings;

	unsetenv("XDG_RUNTIME_DIR");
	setenv("STATE_DIRECTORY", "/var/lib/p2pd", 1);
	setenv("RUNTIME_DIRECTORY", "/run/p2pd", 1);
	defaults = parse("");
	buf_init(&differs, 4096);
	example = parse(text);
	config_unref(config_merge(defaults, example, &differs));
	config_unref(example);

	buf_init(&settings, CONFIG_FILE_MAX);
	for (size_t i = 0; config_key(i, &key); i++) {
		char setting[256];
		format_setting(setting, "", &key);
		if (key.is_list || key.fallback[0] != '\0')
			buf_addf(&settings, "[%s]\n%s\n", key.section, setting);
	}
	example = parse(settings.data);
	config_unref(config_merge(defaults, example, &differs));
	ck_assert_msg(differs.len == 0, "%s", differs.data);
	config_unref(example);
	config_unref(defaults);
	buf_fini(&settings);
	buf_fini(&differs);
	free(text);
}
END_TEST

/* Looks for the lines of one key in the manual page, from its .It to the next one. */
static void
check_item(char *item, const struct config_key *key)
{
	char expected[256];
	char *end = strstr(item + 1, "\n.It ");
	char *end_of_list = strstr(item + 1, "\n.El");

	if (end == NULL || end > end_of_list)
		end = end_of_list;
	ck_assert_ptr_nonnull(end);
	char after = end[1];
	end[1] = '\0';
	snprintf(expected, sizeof(expected), "\nDefault:\n.Ql %s .\n", key->fallback);
	if (key->fallback[0] != '\0')
		ck_assert_msg(strstr(item, expected) != NULL, "[%s] %s", key->section, key->key);
	else
		ck_assert_msg(strstr(item, "\n.Ql") == NULL, "[%s] %s", key->section, key->key);
	ck_assert_msg((strstr(item, "\nReloadable.\n") != NULL) == key->is_reloadable, "[%s] %s",
		      key->section, key->key);
	end[1] = after;
}

START_TEST(test_the_manual_page_has_every_key_with_its_default_and_nothing_else)
{
	char *text = read_tree("man/p2pd.conf.5");
	char *at = strstr(text, "\n.Sh KEYS\n"), *files = strstr(text, "\n.Sh FILES\n");
	char expected[256], section[64] = "";
	struct config_key key;

	ck_assert(at != NULL && files != NULL && at < files);
	files[1] = '\0';
	for (size_t i = 0; config_key(i, &key); i++) {
		if (strcmp(section, key.section) != 0) {
			snprintf(section, sizeof(section), "%s", key.section);
			snprintf(expected, sizeof(expected), "\n.Ss [%s]\n", section);
			char *next = strstr(at, "\n.Ss ");
			ck_assert_msg(next != NULL &&
					  strncmp(next, expected, strlen(expected)) == 0,
				      "%s", expected);
			at = next + 1;
		}
		snprintf(expected, sizeof(expected), "\n.It Cm %s No = Ar ", key.key);
		char *next = strstr(at, "\n.It ");
		ck_assert_msg(next != NULL && strncmp(next, expected, strlen(expected)) == 0,
			      "[%s]%s", section, expected);
		check_item(next, &key);
		at = next + 1;
	}
	ck_assert_ptr_null(strstr(at, "\n.It "));
	ck_assert_ptr_null(strstr(at, "\n.Ss "));
	free(text);
}
END_TEST

START_TEST(test_the_table_is_whole)
{
	struct config_key key;
	size_t count = 0;

	for (; config_key(count, &key); count++) {
		ck_assert_uint_gt(strlen(key.value), 0);
		ck_assert_uint_gt(strlen(key.help), 0);
		ck_assert_int_eq(key.help[strlen(key.help) - 1], '.');
		ck_assert_int_ne(key.value[strlen(key.value) - 1], '.');
	}
	ck_assert_uint_eq(count, 40);
	ck_assert(!config_key(count + 1000, &key));
}
END_TEST

static Suite *
config_suite(void)
{
	Suite *suite = suite_create("config");
	TCase *texts = tcase_create("texts"), *files = tcase_create("files");
	TCase *table = tcase_create("table");

	tcase_add_test(texts, test_without_a_file_every_default_holds);
	tcase_add_test(texts, test_a_user_has_the_xdg_directories);
	tcase_add_test(texts, test_a_service_has_the_systems_directories);
	tcase_add_test(texts, test_root_has_the_systems_directories);
	tcase_add_test(texts, test_values_are_read_in_every_accepted_spelling);
	tcase_add_test(texts, test_a_byte_order_mark_and_crlf_are_accepted);
	tcase_add_test(texts, test_both_spellings_of_yes_and_no_are_known);
	tcase_add_test(texts, test_a_line_may_have_1023_bytes_and_not_more);
	tcase_add_test(texts, test_the_tail_of_a_long_comment_is_no_setting);
	tcase_add_loop_test(texts, test_a_bad_file_is_refused_with_its_line_and_what_is_accepted, 0,
			    COUNT(bad));
	tcase_add_test(texts, test_a_nul_is_refused_and_hides_nothing);
	tcase_add_loop_test(texts, test_a_network_address_needs_open_network, 0, COUNT(network));
	tcase_add_test(texts, test_a_list_holds_64_values_and_not_more);
	tcase_add_test(texts, test_a_reload_takes_what_it_can_and_names_the_rest);
	tcase_add_test(texts, test_a_reload_of_the_same_file_changes_nothing);
	tcase_add_test(texts, test_loopback_is_told_from_the_rest);
	tcase_add_test(texts, test_an_address_is_split_or_nothing_is_touched);
	tcase_add_unchecked_fixture(files, make_dir, remove_dir);
	tcase_add_test(files, test_a_file_is_loaded_and_named_in_errors);
	tcase_add_test(files, test_what_is_no_readable_regular_file_is_refused);
	tcase_add_test(files, test_a_file_of_more_than_256_kib_is_refused);
	tcase_add_test(table, test_the_example_has_every_key_at_its_default_and_nothing_else);
	tcase_add_test(table, test_the_example_means_the_defaults_commented_out_or_not);
	tcase_add_test(table, test_the_manual_page_has_every_key_with_its_default_and_nothing_else);
	tcase_add_test(table, test_the_table_is_whole);
	suite_add_tcase(suite, texts);
	suite_add_tcase(suite, files);
	suite_add_tcase(suite, table);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(config_suite());

	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
