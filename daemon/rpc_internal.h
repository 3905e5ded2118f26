/* SPDX-License-Identifier: MIT
 *
 * rpc_internal.h - what the files of the gRPC face share.
 *
 * rpc.c	    the face: addresses, the way up and down, the restart
 * rpc_server.c	    one life of the listener: the library's server, its queue, its thread
 * rpc_stuck.c	    notices that the poller is kept busy inside the library
 * rpc_probe.c	    the face calls itself, and is started anew if nobody answers
 * rpc_guard.c	    connections that are too many, or make too many calls in vain, and the end of them
 * rpc_call.c	    one call from its request to its status: queue tags, batches, who may run when
 * rpc_room.c	    how much may be under way at once
 * rpc_watchers.c   calls that last until somebody ends them, and the good-bye to them
 * rpc_pace.c	    uploads whose clients send too slowly, and the end of them
 * rpc_message.c    messages in byte buffers (a header of its own)
 * rpc_credentials.c  by what a connection is protected (a header of its own)
 * rpc_methods.c    the table
 * rpc_peers.c, rpc_files.c, rpc_have.c, rpc_download.c, rpc_batch.c, rpc_upload.c, rpc_events.c, rpc_health.c, rpc_reflection.c   what the methods do
 *
 * A method is a row of functions and knows nothing of batches and tags.  Its steps are called one after the
 * other, never two at once, on the face's own thread, or, if they wait for a disk, on the pool:
 *
 *   unary		    take(request) replies and answers RPC_END; or it answers RPC_WAIT, and next(), once there is
 *			    something to say, replies and answers RPC_END
 *   server stream	    take(request) answers RPC_MORE; then next() again and again, each time after what it
 *			    replied before has left: RPC_MORE with a reply, RPC_WAIT (nothing now: somebody will
 *			    rpc_wake()), RPC_END
 *   client stream	    take(message) answers RPC_MORE for each, or RPC_WAIT (the next one is read after an
 *			    rpc_wake()); take(NULL) at the end replies, RPC_END
 *   both		    take(message) replies, RPC_MORE; take(NULL) answers RPC_END
 *
 * Any step may answer an error code instead, which becomes the status; once a call is over (the client cancelled,
 * left, its deadline passed, we stop) no step is begun, and end() comes soon.
 */
#ifndef P2PD_RPC_INTERNAL_H
#define P2PD_RPC_INTERNAL_H

#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "rpc.h"
#include "rpc_library.h"
#include "wire_pb.h"

#define RPC_MESSAGE_MAX	((1u << 20) + (64u << 10))	/* bytes of one message in a client stream */
#define RPC_REQUEST_MAX	(64u << 10)			/* bytes of one message to any other method */
#define RPC_BLOCK	(256u << 10)			/* bytes of file in one message that we send */
#define RPC_STREAMS_MAX	128				/* calls at once on one connection */
#define RPC_HEADERS_MAX	(16u << 10)			/* bytes of the headers of one call */
#define RPC_DOWNLOADS_MAX 256				/* Downloads at once, of many or one; each may hold two blocks */
#define RPC_WAITS_MAX	1024				/* calls of Have that wait at once */
#define RPC_CALLS_MAX	2048				/* calls at once on the whole face, but for Health/Check */
#define RPC_ANSWERS_MAX	(128u << 20)			/* bytes of answers that have not left, but for Downloads */
#define RPC_MEMORY_MAX	(64u << 20)			/* bytes that the library may hold for all connections */

/* What a step answers if it is no error. */
enum { RPC_END = P2P_OK, RPC_MORE = 1, RPC_WAIT = 2 };

enum rpc_shape { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_BOTH_STREAM };

struct rpc_call;

struct rpc_method {
	const char *path;		/* "/p2p.v1.Files/Stat" */
	const char *help;		/* in one sentence */
	enum rpc_shape shape;
	bool waits;			/* its steps wait for a disk: they run on the pool, unless one says otherwise */
	const ProtobufCMessageDescriptor *request;
	int (*take)(struct rpc_call *call, const ProtobufCMessage *message, struct error *err);
	int (*next)(struct rpc_call *call, struct error *err);	/* server streams, and unary ones that wait */
	void (*end)(struct rpc_call *call);	/* frees the state; after the last step, once, even if others keep the call;
						 * where the steps ran; NULL: nothing to do */
};

/* The rows, for all files of the face. */
extern const struct rpc_method rpc_methods[];
extern const size_t rpc_method_count;

#define RPC_TAKE(name)	int name(struct rpc_call *call, const ProtobufCMessage *message, struct error *err)
#define RPC_NEXT(name)	int name(struct rpc_call *call, struct error *err)
#define RPC_DONE(name)	void name(struct rpc_call *call)

/* rpc_peers.c */
RPC_TAKE(rpc_register);
RPC_TAKE(rpc_list_peers);
RPC_NEXT(rpc_list_peers_next);
RPC_DONE(rpc_list_peers_end);
RPC_TAKE(rpc_leave);
RPC_TAKE(rpc_notify);
/* rpc_files.c */
RPC_TAKE(rpc_search);
RPC_NEXT(rpc_search_next);
RPC_DONE(rpc_search_end);
RPC_TAKE(rpc_stat);
RPC_TAKE(rpc_layer);
RPC_TAKE(rpc_changes);
/* rpc_directories.c */
RPC_TAKE(rpc_directories);
/* rpc_have.c */
RPC_TAKE(rpc_have);
RPC_NEXT(rpc_have_next);
RPC_DONE(rpc_have_end);
/* rpc_download.c, rpc_upload.c */
RPC_TAKE(rpc_download);
RPC_NEXT(rpc_download_next);
RPC_DONE(rpc_download_end);
/* rpc_batch.c */
RPC_TAKE(rpc_download_many);
RPC_NEXT(rpc_download_many_next);
RPC_DONE(rpc_download_many_end);
RPC_TAKE(rpc_upload);
RPC_DONE(rpc_upload_end);
/* rpc_events.c */
RPC_TAKE(rpc_watch);
RPC_NEXT(rpc_watch_next);
RPC_DONE(rpc_watch_end);
/* rpc_health.c */
RPC_TAKE(rpc_health_check);
RPC_TAKE(rpc_health_watch);
RPC_NEXT(rpc_health_watch_next);
RPC_DONE(rpc_health_watch_end);
/* rpc_reflection.c */
RPC_TAKE(rpc_reflect);

/* What a method may see of its call.  The rest of a call is rpc_call.c's. */
struct rpc_call_head {
	struct rpc *rpc;
	struct service *service;
	const struct rpc_method *method;
	void *state;			/* the method's own; NULL at first */
	bool waits;			/* the next step waits for a disk: a step may say so, or not, of those after it */
	atomic_bool is_over;		/* what a long step looks at */
	bool lasts;			/* it was a watcher */
	/* After an RPC_WAIT of a client stream: no message is asked for.  Whoever wakes it ends this first. */
	atomic_bool holds_off;
	atomic_uint *place;		/* or NULL: goes down by one when all has left of the call */
};
/* A call begins with its head. */
static inline struct rpc_call_head *
rpc_head(struct rpc_call *call)
{
	return (struct rpc_call_head *)call;
}

/* One of RPC_DOWNLOADS_MAX until all has left of the call; P2P_TOO_MANY. */
int	rpc_download_place(struct rpc_call_head *head, struct error *err);

/* --- inside a step: at most one reply, sent when the step answers --- */

/* First of all, where an answer may be large: P2P_TOO_MANY while those that have not left are RPC_ANSWERS_MAX. */
int	rpc_check_room(struct rpc_call *call, struct error *err);
/* Besides its answers the call keeps so many bytes until it is over. */
void	rpc_keep(struct rpc_call *call, size_t bytes);
/* Packs and keeps a reply. */
void	rpc_reply(struct rpc_call *call, const ProtobufCMessage *message);
/* The same for a message whose one field `field` (its number, of type bytes) is `data`: no copy is made.  Takes the slice.
 * Counted as file bytes that leave. */
void	rpc_reply_bytes(struct rpc_call *call, unsigned field, grpc_slice data);
/* The host from which the call came, a literal address without brackets; "" if it cannot be told. */
void	rpc_from_host(struct rpc_call *call, char ret_host[NODE_ADDRESS_SIZE]);

/* --- from anywhere --- */

/* A call may be kept by others (the mind, a fetch stream) beyond its steps, for rpc_wake(), which does nothing then.  It keeps
 * memory only: neither the way down nor end() waits for it. */
struct rpc_call *rpc_call_ref(struct rpc_call *call);
void	rpc_call_unref(struct rpc_call *call);
/* There may be something to say: next() is called soon if it answered RPC_WAIT, or after the step that runs now.  Any thread. */
void	rpc_wake(struct rpc_call *call);

/* True while the call waits for the library: a message, or that one has left. */
bool	rpc_is_waiting(struct rpc_call *call);
/* Ends the call with this error: no step is begun any more.  Of a call whose end() has not returned yet; any thread. */
void	rpc_break(struct rpc_call *call, const struct error *err);

/* --- one life of the listener (rpc_server.c, rpc_call.c) --- */

/* What the queue gives back when something is done.  Embedded in what it is about, which lives until then. */
typedef void	(*rpc_step_fn)(void *owner, bool success);
struct rpc_tag {
	void *owner;
	_Atomic(rpc_step_fn) step;	/* set last, read first: who reads it sees what was made before */
};
static inline void
rpc_tag_init(struct rpc_tag *tag, rpc_step_fn step, void *owner)
{
	tag->owner = owner;
	atomic_store(&tag->step, step);
}
static inline void
rpc_tag_run(struct rpc_tag *tag, bool success)
{
	rpc_step_fn step = atomic_load(&tag->step);
	step(tag->owner, success);
}

/* Watches a poller that does not come back from the library (rpc_stuck.c). */
struct rpc_stuck {
	pthread_t thread;
	bool is_there;
	atomic_bool is_over;
	atomic_uint turns;		/* how often the poller came back */
};

/* A restart makes another. */
struct rpc_server {
	struct rpc *rpc;
	struct service *service;
	grpc_server *server;
	grpc_completion_queue *queue;
	pthread_t poller;
	bool has_poller;
	struct rpc_stuck stuck;
	void **registered;		/* of grpc_server_register_method(), by row */
	struct rpc_tag stopped;
	atomic_size_t holds;		/* calls, and the server itself: the queue is open until there are none */
	atomic_bool is_stopping;
	atomic_bool is_down;		/* the thread ends */
	struct rpc_server *next;	/* among those that go down; the mind's */
};

/* Binds, and starts a thread.  NULL; err names the address; P2P_CONFLICT: a port is not free now, and will be. */
struct rpc_server *rpc_server_new(struct rpc *rpc, struct error *err);
/* Begins the way down: no new calls, those that run are cancelled.  The addresses are free when this returns. */
void	rpc_server_stop(struct rpc_server *server);
/* Waits until it is down, and frees. */
void	rpc_server_join(struct rpc_server *server);
/* Whoever waits for the queue holds the server. */
void	rpc_server_hold(struct rpc_server *server);
void	rpc_server_release(struct rpc_server *server);

/* The poller runs.  Any thread. */
void	rpc_stuck_start(struct rpc_server *server);
/* By the poller, when nothing comes out of the queue any more and before that goes. */
void	rpc_stuck_stop(struct rpc_server *server);

/* Registers the table's methods; before the server starts. */
void	rpc_calls_register(struct rpc_server *server);
/* Asks for the first call of each method, and of unknown ones. */
void	rpc_calls_expect(struct rpc_server *server);

/* --- the face (rpc.c, rpc_probe.c, rpc_guard.c) --- */

struct rpc_probe;
struct rpc_guard;

/* A call that lasts until somebody ends it.  Embedded in its state. */
struct rpc_watcher {
	struct rpc_call *call;
	struct rpc_watcher *next, **link;	/* under the list's lock */
};
struct rpc_watchers {
	pthread_mutex_t mu;		/* guards the list and the number */
	pthread_cond_t left;		/* one of them is gone */
	struct rpc_watcher *first;
	size_t count;			/* with those that ended, but whose last word has not left yet */
	atomic_bool is_stopping;
};

/* An upload that has to come at a pace.  Embedded in its state. */
struct rpc_paced {
	struct rpc_call *call;
	atomic_uint_fast64_t bytes;	/* that came in this window */
	struct rpc_paced *next, **link;	/* under the pace's lock, as */
	uint32_t waits;			/* seconds of this window, as far as we waited for the client */
};
struct rpc_pace {
	pthread_mutex_t mu;		/* guards the list */
	struct rpc_paced *first;
	bool is_watched;		/* the timer runs, or is about to */
	struct loop *loop;
	struct loop_timer *timer;	/* the mind's */
	uint32_t window_s;
};

/* What is under way. */
struct rpc_room {
	atomic_uint calls;
	atomic_size_t bytes;		/* that they hold */
};

struct rpc_address {
	char *text;			/* as configured */
	char host[NODE_ADDRESS_SIZE];	/* the first one that the text means: 127.0.0.1, [::1] */
	struct sockaddr_storage at;
	socklen_t at_len;
	bool is_wildcard;
	uint16_t port;			/* 0: any, until it is bound */
};

struct rpc {
	struct service *service;
	struct loop *loop;
	bool is_on;			/* there is an address to listen on */
	char *congestion;		/* or NULL */
	size_t address_count;
	struct rpc_address addresses[CONFIG_LIST_MAX];
	struct rpc_server *server;	/* the mind's; NULL: none could be started */
	struct rpc_server *old;		/* the mind's: those that go down */
	struct rpc_probe *probe;	/* the mind's */
	struct rpc_guard *guard;	/* the mind's */
	struct rpc_room room;
	atomic_uint downloads;		/* of which not all has left yet */
	atomic_uint waits;		/* calls of Have that wait, or waited and have not left yet */
	struct rpc_watchers watchers;
	struct rpc_pace pace;
};

uint16_t rpc_address_port(const struct rpc_address *address);	/* of `at` */
void	rpc_address_set_port(struct rpc_address *address, uint16_t port);
/* False while no interface has it: its network is gone, and may come back. */
bool	rpc_address_is_here(const struct rpc_address *address);
/* Mind.  Puts another server in the place of the one that does not answer. */
void	rpc_restart(struct rpc *rpc);
/* Mind.  Calls every address now and then, and rpc_restart() if twice running one does not answer. */
struct rpc_probe *rpc_probe_new(struct rpc *rpc);
void	rpc_probe_free(struct rpc_probe *probe);

/* Bounds the face's connections by the configuration's [rest] connections and per_address.  Borrows the pool. */
struct rpc_guard *rpc_guard_new(struct pool *pool, const struct config *config);
/* A sweep under way ends by itself, before the pool does. */
void	rpc_guard_free(struct rpc_guard *guard);
/* Mind.  Shuts down what is too many, soon, on the pool; nothing if that is being done already.  Needs no descriptor. */
void	rpc_guard_sweep(struct rpc_guard *guard, const struct rpc *rpc);
/* A call of `peer` (as the library writes it) was in vain: taken back, or one too many.  A connection with too many of them is
 * shut down, soon.  Any thread. */
void	rpc_guard_note_vain(struct rpc_guard *guard, const char *peer);
/* The poller has been busy for a while and not come back since its turn `turns`.  When that is said twice, the connection
 * that sent most meanwhile is shut down.  Any thread. */
void	rpc_guard_note_stuck(struct rpc_guard *guard, unsigned turns);

/* --- rpc_room.c, for rpc_call.c --- */
/* From a call's beginning until all has left of it.  False: there is no place for it, and why says refuse(). */
bool	rpc_room_enter(struct rpc_room *room);
int	rpc_room_refuse(struct error *err);
void	rpc_room_leave(struct rpc_room *room);
/* From when bytes are held until they have left. */
void	rpc_room_fill(struct rpc_room *room, size_t bytes);
void	rpc_room_clear(struct rpc_room *room, size_t bytes);

/* --- rpc_watchers.c --- */
void	rpc_watchers_init(struct rpc_watchers *watchers);
void	rpc_watchers_fini(struct rpc_watchers *watchers);
/* From its first step until its end, a call that lasts.  Once it is stopping it is woken, and its next step ends it. */
void	rpc_watcher_add(struct rpc_watcher *watcher, struct rpc_call *call);
void	rpc_watcher_remove(struct rpc_watcher *watcher);
bool	rpc_watcher_is_stopping(const struct rpc_watcher *watcher);
/* By rpc_call.c, when all has left of a call that lasts. */
void	rpc_watchers_let_go(struct rpc_watchers *watchers);
/* Mind.  Wakes all of them, and waits a moment until they have said their last word. */
void	rpc_watchers_stop(struct rpc_watchers *watchers);

/* --- rpc_pace.c --- */
void	rpc_pace_init(struct rpc_pace *pace, struct loop *loop, uint32_t window_s);	/* mind */
void	rpc_pace_fini(struct rpc_pace *pace);	/* mind */
/* From its first bytes until its end, an upload.  Not the mind. */
void	rpc_paced_add(struct rpc_paced *paced, struct rpc_call *call);
void	rpc_paced_remove(struct rpc_paced *paced);

#endif
