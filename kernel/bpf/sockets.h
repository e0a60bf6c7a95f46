/* SPDX-License-Identifier: (MIT OR GPL-2.0-only)
 *
 * What is done to sockets rather than to packets: whose they are, how fast
 * they send by themselves, which congestion control they use.
 */
#ifndef WEIRGATE_SOCKETS_H
#define WEIRGATE_SOCKETS_H

#include "packets.h"

/* The process that used a socket last; an accepted one begins with its listener's. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u32);
} owners SEC(".maps");

/* What a socket was told, and whether it takes part: one that sends nothing does not. */
struct wg_paced {
	__u32 slot, share;
	__u64 sent; /* bytes, when last looked at */
	__u32 idle, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct wg_paced);
} paced SEC(".maps");

/* By slot: bytes per second to share, 0 if the rule is gone; written by user space. */
struct wg_pace {
	__u64 rate;
	__u64 per_flow;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WG_CAPACITY);
	__type(key, __u32);
	__type(value, struct wg_pace);
} paces SEC(".maps");

/* By slot: sockets that share the rate, those that have sent lately. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WG_CAPACITY);
	__type(key, __u32);
	__type(value, __u64);
} pace_members SEC(".maps");

/* No limit, as the kernel writes it. */
#define WG_UNPACED (~0U)

static __always_inline __u32 wg_share(__u32 slot)
{
	struct wg_pace *pace = bpf_map_lookup_elem(&paces, &slot);
	__s64 *members = bpf_map_lookup_elem(&pace_members, &slot);
	__u64 share, among;

	if (!pace || !members || pace->rate == 0)
		return WG_UNPACED;
	/* One that left after the slot was given to another rule may have made it less than none. */
	among = pace->per_flow || *members <= 0 ? 1 : *members;
	share = pace->rate / among;
	if (share == 0)
		return 1;
	return share < WG_UNPACED ? share : WG_UNPACED - 1;
}

static __always_inline void wg_join(__u32 slot, __s64 by)
{
	__u64 *members = bpf_map_lookup_elem(&pace_members, &slot);

	if (members)
		__sync_fetch_and_add(members, by);
}

/* Notes the first rule that paces, and the first that switches. */
static long wg_find(__u32 index, struct wg_packet *p)
{
	__u32 at = p->first + index;
	struct wg_rule *r = bpf_map_lookup_elem(&rules, &at);

	if (!r || !wg_matches(r, p))
		return 0;
	if (r->mode == WG_PACE && !p->pace)
		p->pace = index + 1;
	if (r->mode == WG_SWITCH && !p->congestion)
		p->congestion = index + 1;
	return p->pace && p->congestion;
}

static __always_inline struct wg_rule *wg_rule_at(const struct wg_packet *p, __u32 index_plus_one)
{
	__u32 at = p->first + index_plus_one - 1;

	return index_plus_one ? bpf_map_lookup_elem(&rules, &at) : NULL;
}

#endif
