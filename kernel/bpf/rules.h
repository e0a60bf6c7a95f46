/* SPDX-License-Identifier: (MIT OR GPL-2.0-only)
 *
 * Rules as user space writes them, their state, and the token bucket.
 * src/engine/layout.rs writes and reads the same bytes.
 */
#ifndef WEIRGATE_RULES_H
#define WEIRGATE_RULES_H

#include "minimal.h"

enum { WG_NETFILTER = 1, WG_CGROUP = 2, WG_TC = 4, WG_SOCKET = 8 };
enum { WG_INGRESS = 1, WG_EGRESS = 2 };
enum { WG_WATCH, WG_POLICE, WG_PACE, WG_SWITCH };
enum { WG_PER_FLOW = 1, WG_TRACK_FLOWS = 2, WG_PROTOCOL = 4, WG_REMOTE_PORT = 8,
       WG_LOCAL_PORT = 16 };
/* Ancestors of a socket's cgroup that are looked at. */
#define WG_DEPTH 10
/* Anything in the place of a network namespace's cookie. */
#define WG_ANY_NETNS (~0ULL)

/* One rule; addresses are IPv6 or IPv4-mapped, in network byte order. */
struct wg_rule {
	__u64 rate;    /* bytes per second */
	__u64 cap;     /* depth of the bucket in billionths of a byte */
	__u64 horizon; /* nanoseconds after which any bucket is full */
	__u64 need;    /* bytes that suffice for a packet larger than that */
	__u64 cgroup;  /* 0: any */
	__u64 netns;   /* cookie; 0: any */
	__u32 remote[4], remote_mask[4], local[4], local_mask[4];
	__u32 slot, pid, ifindex; /* pid and ifindex 0: any */
	__u16 remote_port_low, remote_port_high, local_port_low, local_port_high;
	__u8 hooks, directions, mode, flags, protocol;
	__u8 version; /* of IP: 4 or 6 if addresses are asked for; 0: any, and what is not IP */
	__u8 pad[2];
	char congestion[16];
};

struct wg_count {
	__u64 bytes, packets;
};

/* What a rule, or one flow of it, has come to. A zeroed one is a full bucket. */
struct wg_state {
	struct bpf_spin_lock lock;
	__u32 pad;
	__u64 spent;      /* what is missing in the bucket, in billionths of a byte */
	__u64 settled_at; /* CLOCK_MONOTONIC nanoseconds */
	__u64 cap;        /* that `spent` counts from */
	__u64 seen_at;
	struct wg_count passed, dropped; /* dropped by this rule */
	struct wg_count refused;         /* passed here, dropped by another rule of the hook */
};

struct wg_flow_key {
	__u32 slot;
	__u16 remote_port, local_port;
	__u8 protocol, pad[3];
	__u32 remote[4], local[4];
};

/* Which half of `rules` counts; replaced at once, in eight bytes. */
struct wg_control {
	__u32 first; /* index of the first rule */
	__u32 count;
};

#define WG_CAPACITY 2048

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * WG_CAPACITY);
	__type(key, __u32);
	__type(value, struct wg_rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WG_CAPACITY);
	__type(key, __u32);
	__type(value, struct wg_state);
} states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wg_control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct wg_flow_key);
	__type(value, struct wg_state);
} flows SEC(".maps");

#define WG_BILLION 1000000000ULL

/* Whether `len` bytes may pass at `now`, and takes them if so.
 *
 * Counted in billionths of a byte: one nanosecond at one byte per second earns
 * one, so nothing is ever rounded, however often packets come. User space
 * keeps cap + 2^20 bytes below 2^64, and horizon = (cap + 2^20 bytes) / rate + 1,
 * so that no product wraps: 18 GB of depth, 400 Gbit/s. The lock is held. */
static __always_inline bool wg_take(struct wg_state *s, const struct wg_rule *r, __u64 now,
				    __u64 len)
{
	__u64 need = len < r->need ? len : r->need;

	if (s->cap != r->cap) { /* a changed depth keeps the tokens there are */
		__u64 tokens = s->spent < s->cap ? s->cap - s->spent : 0;
		__u64 debt = s->spent > s->cap ? s->spent - s->cap : 0;

		if (s->settled_at == 0)
			s->spent = 0;
		else
			s->spent = (tokens < r->cap ? r->cap - tokens : 0) + debt;
		s->cap = r->cap;
	}
	if (now > s->settled_at) {
		__u64 elapsed = now - s->settled_at;
		__u64 earned = elapsed * r->rate;

		s->spent = elapsed >= r->horizon || earned >= s->spent ? 0 : s->spent - earned;
		s->settled_at = now;
	}
	if (s->spent > r->cap || r->cap - s->spent < need * WG_BILLION)
		return false;
	s->spent += len * WG_BILLION;
	return true;
}

static __always_inline void wg_count(struct wg_count *c, __u64 len)
{
	c->bytes += len;
	c->packets += 1;
}

static __always_inline void wg_uncount(struct wg_count *c, __u64 len)
{
	c->bytes -= len;
	c->packets -= 1;
}

#endif
