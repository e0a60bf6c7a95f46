/* SPDX-License-Identifier: (MIT OR GPL-2.0-only)
 *
 * A packet as rules see it, and which rules it meets.
 */
#ifndef WEIRGATE_PACKETS_H
#define WEIRGATE_PACKETS_H

#include "rules.h"

/* A packet, or the connection of a socket. Local is this host's side. */
struct wg_packet {
	__u32 remote[4], local[4];
	__u64 now, len, netns;
	__u64 cgroups[WG_DEPTH];
	__u32 pid, ifindex, first;
	__u16 remote_port, local_port;
	__u8 protocol, hook, direction, has_ports;
	__u8 version; /* of IP: 4, 6, or 0 if it is neither */
	/* What came of it. */
	__u32 denied;            /* index of the rule that dropped it, plus one */
	__u32 pace, congestion;  /* index of the rule that says so, plus one */
};

/* Where bytes behind the start of the network header are read from. */
struct wg_source {
	struct __sk_buff *skb;
	struct bpf_dynptr *dynptr;
};

static __always_inline bool wg_read(const struct wg_source *from, __u32 at, void *to, __u32 len)
{
	if (from->dynptr)
		return bpf_dynptr_read(to, len, from->dynptr, at, 0) == 0;
	return bpf_skb_load_bytes_relative(from->skb, at, to, len, BPF_HDR_START_NET) == 0;
}

static __always_inline void wg_map_ipv4(__u32 to[4], __u32 address)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = address;
}

/* The version of IP that a socket's address belongs to: IPv6 sockets carry IPv4, too. */
static __always_inline __u8 wg_version_of(const __u32 address[4])
{
	return address[0] == 0 && address[1] == 0 && address[2] == bpf_htonl(0xffff) ? 4 : 6;
}

static __always_inline bool wg_protocol_has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_UDPLITE;
}

/* Extension headers that are skipped before a transport header. */
#define WG_EXTENSIONS 6

/* Offset of the transport header behind an IPv6 header; 0 if there is none here. */
static __always_inline __u32 wg_skip_extensions(const struct wg_source *from, __u8 *protocol)
{
	__u32 at = 40;

	for (int i = 0; i < WG_EXTENSIONS; i++) {
		__u8 header[4];

		if (*protocol != IPPROTO_HOPOPTS && *protocol != IPPROTO_ROUTING &&
		    *protocol != IPPROTO_DSTOPTS && *protocol != IPPROTO_FRAGMENT &&
		    *protocol != IPPROTO_AH)
			return at;
		if (!wg_read(from, at, header, sizeof(header)))
			return 0;
		if (*protocol == IPPROTO_FRAGMENT) {
			bool later = header[2] != 0 || (header[3] & 0xf8) != 0;

			*protocol = header[0];
			if (later)
				return 0;
			at += 8;
		} else if (*protocol == IPPROTO_AH) {
			*protocol = header[0];
			at += 4 * (__u32)header[1] + 8;
		} else {
			*protocol = header[0];
			at += 8 * (__u32)header[1] + 8;
		}
	}
	return 0;
}

/* Reads addresses, protocol and ports; false if it is neither IPv4 nor IPv6. */
static __always_inline bool wg_parse(const struct wg_source *from, struct wg_packet *p)
{
	__u32 *source = p->direction == WG_INGRESS ? p->remote : p->local;
	__u32 *target = p->direction == WG_INGRESS ? p->local : p->remote;
	__u8 header[20];
	__u32 transport;

	if (!wg_read(from, 0, header, sizeof(header)))
		return false;
	if (header[0] >> 4 == 4) {
		__u32 addresses[2];

		p->version = 4;
		__builtin_memcpy(addresses, header + 12, sizeof(addresses));
		wg_map_ipv4(source, addresses[0]);
		wg_map_ipv4(target, addresses[1]);
		p->protocol = header[9];
		/* Ports are in the first fragment only. */
		transport = (header[6] & 0x1f) || header[7] ? 0 : 4 * (header[0] & 0xf);
	} else if (header[0] >> 4 == 6) {
		__u32 addresses[8];

		if (!wg_read(from, 8, addresses, sizeof(addresses)))
			return false;
		p->version = 6;
		for (int i = 0; i < 4; i++) {
			source[i] = addresses[i];
			target[i] = addresses[4 + i];
		}
		p->protocol = header[6];
		transport = wg_skip_extensions(from, &p->protocol);
	} else {
		return false;
	}
	if (transport && wg_protocol_has_ports(p->protocol)) {
		__u16 ports[2];

		if (wg_read(from, transport, ports, sizeof(ports))) {
			__u16 from_port = bpf_ntohs(ports[0]), to_port = bpf_ntohs(ports[1]);

			p->remote_port = p->direction == WG_INGRESS ? from_port : to_port;
			p->local_port = p->direction == WG_INGRESS ? to_port : from_port;
			p->has_ports = 1;
		}
	}
	return true;
}

static __always_inline bool wg_in_network(const __u32 address[4], const __u32 network[4],
					  const __u32 mask[4])
{
	return (address[0] & mask[0]) == network[0] && (address[1] & mask[1]) == network[1] &&
	       (address[2] & mask[2]) == network[2] && (address[3] & mask[3]) == network[3];
}

static __always_inline bool wg_in_cgroup(const struct wg_packet *p, __u64 cgroup)
{
	for (int i = 0; i < WG_DEPTH; i++)
		if (p->cgroups[i] == cgroup)
			return true;
	return false;
}

/* Whether all that the rule asks for holds. */
static __always_inline bool wg_matches(const struct wg_rule *r, const struct wg_packet *p)
{
	if (!(r->hooks & p->hook) || !(r->directions & p->direction))
		return false;
	if (r->version && r->version != p->version)
		return false;
	if (r->flags & WG_PROTOCOL && (!p->version || r->protocol != p->protocol))
		return false;
	if (r->flags & WG_REMOTE_PORT && (!p->has_ports || p->remote_port < r->remote_port_low ||
					  p->remote_port > r->remote_port_high))
		return false;
	if (r->flags & WG_LOCAL_PORT && (!p->has_ports || p->local_port < r->local_port_low ||
					 p->local_port > r->local_port_high))
		return false;
	if (r->pid && r->pid != p->pid)
		return false;
	if (r->ifindex && r->ifindex != p->ifindex)
		return false;
	if (r->netns && p->netns != WG_ANY_NETNS && r->netns != p->netns)
		return false;
	if (r->cgroup && !wg_in_cgroup(p, r->cgroup))
		return false;
	return wg_in_network(p->remote, r->remote, r->remote_mask) &&
	       wg_in_network(p->local, r->local, r->local_mask);
}

/* The state of the packet's flow under rule `r`, made if there is room. */
static __always_inline struct wg_state *wg_flow(const struct wg_rule *r, const struct wg_packet *p,
						bool make)
{
	struct wg_flow_key key = {};
	struct wg_state fresh = {}, *state;

	key.slot = r->slot;
	key.remote_port = p->remote_port;
	key.local_port = p->local_port;
	key.protocol = p->protocol;
	for (int i = 0; i < 4; i++) {
		key.remote[i] = p->remote[i];
		key.local[i] = p->local[i];
	}
	state = bpf_map_lookup_elem(&flows, &key);
	if (state || !make)
		return state;
	bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&flows, &key);
}

/* Charges one bucket and counts. */
static __always_inline bool wg_charge(struct wg_state *s, const struct wg_rule *r,
				      const struct wg_packet *p)
{
	bool pass = true;

	bpf_spin_lock(&s->lock);
	if (r->mode == WG_POLICE)
		pass = wg_take(s, r, p->now, p->len);
	wg_count(pass ? &s->passed : &s->dropped, p->len);
	s->seen_at = p->now;
	bpf_spin_unlock(&s->lock);
	return pass;
}

/* Counts what another bucket decided. */
static __always_inline void wg_note(struct wg_state *s, const struct wg_packet *p, bool pass)
{
	bpf_spin_lock(&s->lock);
	wg_count(pass ? &s->passed : &s->dropped, p->len);
	s->seen_at = p->now;
	bpf_spin_unlock(&s->lock);
}

/* Gives back what was charged for a packet that another rule dropped. */
static __always_inline void wg_refund(struct wg_state *s, const struct wg_rule *r,
				      const struct wg_packet *p, bool charged)
{
	__u64 amount = charged && r->mode == WG_POLICE ? p->len * WG_BILLION : 0;

	bpf_spin_lock(&s->lock);
	s->spent = s->spent > amount ? s->spent - amount : 0;
	wg_uncount(&s->passed, p->len);
	wg_count(&s->refused, p->len);
	bpf_spin_unlock(&s->lock);
}

/* One rule for the packet; 1 ends the walk. */
static long wg_apply(__u32 index, struct wg_packet *p)
{
	__u32 at = p->first + index;
	struct wg_rule *r = bpf_map_lookup_elem(&rules, &at);
	struct wg_state *state, *flow = NULL;
	__u32 slot;
	bool pass;

	if (!r || !wg_matches(r, p))
		return 0;
	slot = r->slot;
	state = bpf_map_lookup_elem(&states, &slot);
	if (!state)
		return 0;
	if (r->flags & (WG_PER_FLOW | WG_TRACK_FLOWS))
		flow = wg_flow(r, p, true);
	if (flow && r->flags & WG_PER_FLOW) {
		pass = wg_charge(flow, r, p);
		wg_note(state, p, pass);
	} else {
		/* Flows that find no room in the table share the rule's own budget. */
		pass = wg_charge(state, r, p);
		if (flow)
			wg_note(flow, p, pass);
	}
	if (pass)
		return 0;
	p->denied = index + 1;
	return 1;
}

/* Takes back what the rules before the one that dropped the packet did. */
static long wg_undo(__u32 index, struct wg_packet *p)
{
	__u32 at = p->first + index;
	struct wg_rule *r = bpf_map_lookup_elem(&rules, &at);
	struct wg_state *state, *flow = NULL;
	__u32 slot;

	if (!r || !wg_matches(r, p))
		return 0;
	slot = r->slot;
	state = bpf_map_lookup_elem(&states, &slot);
	if (!state)
		return 0;
	if (r->flags & (WG_PER_FLOW | WG_TRACK_FLOWS))
		flow = wg_flow(r, p, false);
	wg_refund(state, r, p, !(flow && r->flags & WG_PER_FLOW));
	if (flow)
		wg_refund(flow, r, p, r->flags & WG_PER_FLOW);
	return 0;
}

/* Whether the packet may pass all rules that it meets. */
static __always_inline bool wg_passes(struct wg_packet *p, const struct wg_control *c)
{
	p->now = bpf_ktime_get_ns();
	p->first = c->first;
	bpf_loop(c->count, wg_apply, p, 0);
	if (!p->denied)
		return true;
	if (p->denied > 1)
		bpf_loop(p->denied - 1, wg_undo, p, 0);
	return false;
}

/* The rules that count now; NULL if there are none. */
static __always_inline bool wg_active(struct wg_control *to)
{
	__u32 zero = 0;
	struct wg_control *c = bpf_map_lookup_elem(&control, &zero);
	__u64 both;

	if (!c)
		return false;
	both = *(volatile __u64 *)c;
	__builtin_memcpy(to, &both, sizeof(both));
	return to->count != 0;
}

#endif
