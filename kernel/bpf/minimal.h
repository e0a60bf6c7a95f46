/* SPDX-License-Identifier: (MIT OR GPL-2.0-only)
 *
 * The few kernel types that the programs touch. Those marked
 * preserve_access_index are found in the running kernel by name (CO-RE), so
 * that their order and size here do not matter; the others are stable user
 * API with a fixed layout. No dump of a kernel's own types is needed to build.
 */
#ifndef WEIRGATE_MINIMAL_H
#define WEIRGATE_MINIMAL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed short __s16;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u16 __sum16;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

/* linux/bpf.h */
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_SK_STORAGE = 24 };
enum { BPF_F_NO_PREALLOC = 1, BPF_F_CLONE = 1 << 9 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_SK_STORAGE_GET_F_CREATE = 1 };
enum { BPF_HDR_START_NET = 1 };
enum {
	BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4,
	BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5,
	BPF_SOCK_OPS_STATE_CB = 10,
	BPF_SOCK_OPS_RTT_CB = 12,
};
enum { BPF_SOCK_OPS_STATE_CB_FLAG = 1 << 2, BPF_SOCK_OPS_RTT_CB_FLAG = 1 << 3 };
enum { TCP_BPF_SOCK_OPS_CB_FLAGS = 1008 };
enum { BPF_TCP_ESTABLISHED = 1, BPF_TCP_FIN_WAIT1 = 4, BPF_TCP_CLOSE = 7, BPF_TCP_CLOSE_WAIT = 8,
       BPF_TCP_LAST_ACK = 9, BPF_TCP_CLOSING = 11 };

/* asm/socket.h, linux/tcp.h, linux/in.h, linux/if_ether.h, linux/netfilter.h */
enum { SOL_SOCKET = 1, SO_MAX_PACING_RATE = 47, SOL_TCP = 6, TCP_CONGESTION = 13 };
enum { IPPROTO_HOPOPTS = 0, IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_ROUTING = 43,
       IPPROTO_FRAGMENT = 44, IPPROTO_AH = 51, IPPROTO_SCTP = 132, IPPROTO_DSTOPTS = 60, IPPROTO_UDPLITE = 136 };
enum { AF_INET = 2, AF_INET6 = 10 };
enum { ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };
enum { NF_DROP = 0, NF_ACCEPT = 1, NF_INET_LOCAL_IN = 1, NF_INET_LOCAL_OUT = 3 };
enum { TCX_NEXT = -1, TCX_DROP = 2 };

struct bpf_spin_lock {
	__u32 val;
};

struct bpf_dynptr {
	__u64 __opaque[2];
} __attribute__((aligned(8)));

struct bpf_sock;

struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
	__u32 priority, ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end;
	__u32 napi_id, family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	__u32 remote_port, local_port, data_meta;
	__u64 flow_keys __attribute__((aligned(8)));
	__u64 tstamp;
	__u32 wire_len, gso_segs;
	union {
		struct bpf_sock *sk;
		__u64 sk_wide;
	} __attribute__((aligned(8)));
	__u32 gso_size;
};

struct bpf_sock_ops {
	__u32 op;
	union {
		__u32 args[4];
		__u32 reply;
	};
	__u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	__u32 remote_port; /* network byte order */
	__u32 local_port;  /* host byte order */
	__u32 is_fullsock, snd_cwnd, srtt_us, bpf_sock_ops_cb_flags, state, rtt_min;
	__u32 snd_ssthresh, rcv_nxt, snd_nxt, snd_una, mss_cache, ecn_flags, rate_delivered;
	__u32 rate_interval_us, packets_out, retrans_out, total_retrans, segs_in, data_segs_in;
	__u32 segs_out, data_segs_out, lost_out, sacked_out, sk_txhash;
	__u64 bytes_received, bytes_acked;
	union {
		struct bpf_sock *sk;
		__u64 sk_wide;
	} __attribute__((aligned(8)));
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net_device {
	int ifindex;
};

struct nf_hook_state {
	__u8 hook, pf;
	struct net_device *in, *out;
};

struct sk_buff {
	unsigned int len;
};

struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
};

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
};

struct tcp_sock {
	__u64 bytes_sent;
};

struct bpf_iter_meta;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags,
			       struct bpf_dynptr *ptr) __ksym __weak;

#endif
